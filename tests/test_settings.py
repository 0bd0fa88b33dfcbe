import pytest

from app.settings import SettingsError, available_cores, read_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder without `.env`."""
    monkeypatch.chdir(tmp_path)


def test_the_defaults_serve_on_loopback_with_everything_open():
    settings = read_settings()
    assert (settings.host, settings.port, settings.open_to_changes) == ("127.0.0.1", 8000, True)
    assert settings.effective_database_url == "sqlite:///var/mynet.db"


def test_the_environment_wins_over_env_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("MYNET_PORT=1\nMYNET_WORKERS=3\nOTHER=1\n")
    monkeypatch.setenv("MYNET_PORT", "2")
    assert (read_settings().port, read_settings().workers) == (2, 3)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MYNET_PORT", "eighty", "MYNET_PORT=eighty: .*integer"),
        ("MYNET_PORT", "70000", "MYNET_PORT=70000: .*65535"),
        ("MYNET_DEVICE", "gpu", "MYNET_DEVICE=gpu: must be auto, cpu, cuda"),
        ("MYNET_TRAIN_DEVICE", "cuda:x", "MYNET_TRAIN_DEVICE=cuda:x"),
        ("MYNET_AUTH", "keys", "'none' or 'predict'"),
        ("MYNET_PROT", "1", "MYNET_PROT is not a setting.*MYNET_PORT"),
        ("mynet_zzz", "1", "mynet_zzz is not a setting"),
    ],
)
def test_a_bad_or_unknown_variable_is_named(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        read_settings()


def test_an_unknown_variable_in_env_file_is_named(tmp_path):
    (tmp_path / ".env").write_text("MYNET_PROT=1\n")
    with pytest.raises(SettingsError, match="MYNET_PROT"):
        read_settings()


def test_where_the_command_line_asks_does_not_stop_a_service(monkeypatch):
    monkeypatch.setenv("MYNET_URL", "http://elsewhere:8000")
    monkeypatch.setenv("MYNET_API_KEY", "secret")
    assert read_settings().port == 8000


def test_an_env_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / ".env").write_bytes(b"MYNET_PORT=\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8"):
        read_settings()


def test_beyond_loopback_somebody_must_say_what_is_open(monkeypatch):
    monkeypatch.setenv("MYNET_HOST", "0.0.0.0")
    with pytest.raises(SettingsError, match=r"MYNET_HOST=0\.0\.0\.0.*MYNET_AUTH=predict"):
        read_settings()
    monkeypatch.setenv("MYNET_AUTH", "predict")
    assert not read_settings().open_to_changes


def test_training_leaves_a_core_to_predictions(monkeypatch):
    monkeypatch.setattr("app.settings.available_cores", lambda: 1)
    assert read_settings().effective_train_threads == 1
    monkeypatch.setattr("app.settings.available_cores", lambda: 3)
    assert read_settings().effective_train_threads == 2
    monkeypatch.setenv("MYNET_TRAIN_THREADS", "7")
    assert read_settings().effective_train_threads == 7


def test_settings_travel_to_another_process_whole(monkeypatch):
    monkeypatch.setenv("MYNET_PORT", "1234")
    sent = read_settings()
    monkeypatch.setenv("MYNET_PORT", "999")
    assert type(sent).model_validate_json(sent.model_dump_json()) == sent


@pytest.mark.parametrize(
    ("content", "cores"),
    [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)],
)
def test_a_containers_quota_counts(tmp_path, content, cores):
    quota = tmp_path / "cpu.max"
    quota.write_text(content)
    assert available_cores(quota) == (cores or available_cores(tmp_path / "missing"))
