import os

import pytest

from app.config.settings import Settings, SettingsError, load_settings
from app.server import server
from app.startup import prepare_service
from app.train.jobs.assignment import Assignment


@pytest.fixture(autouse=True)
def isolated_folder(tmp_path, monkeypatch):
    """A folder without `.env`."""
    monkeypatch.chdir(tmp_path)


def test_the_defaults_serve_on_loopback_with_everything_open():
    settings = load_settings()
    assert (settings.host, settings.port, settings.effective_auth) == ("127.0.0.1", 8000, "none")
    assert settings.effective_database_url == "sqlite:///var/mynet.db"


def test_path_settings_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("STATE_DIR", "DATA_DIR", "CHECKPOINT", "MODELS_URL"):
        monkeypatch.setenv(f"MYNET_{name}", f"~/{name}")
    settings = load_settings()
    assert settings.state_dir == tmp_path / "STATE_DIR"
    assert settings.data_dir == tmp_path / "DATA_DIR"
    assert settings.checkpoint == tmp_path / "CHECKPOINT"
    assert settings.models_dir == tmp_path / "MODELS_URL"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("~nobody-of-this-name/var", "~nobody-of-this-name is the home folder of a user that"),
        (os.fsdecode(b"\xff/var"), "must be UTF-8 text without NUL"),
    ],
)
def test_state_folder_that_cannot_be_is_refused(monkeypatch, value, message):
    monkeypatch.setenv("MYNET_STATE_DIR", value)
    with pytest.raises(SettingsError, match=message):
        load_settings()
    with pytest.raises(ValueError, match="without NUL"):
        Settings(state_dir="a\0b")


def test_the_environment_wins_over_env_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("MYNET_PORT=1\nMYNET_WORKERS=3\nOTHER=1\n")
    monkeypatch.setenv("MYNET_PORT", "2")
    assert (load_settings().port, load_settings().workers) == (2, 3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MYNET_PORT", "eighty", "MYNET_PORT=eighty: .*integer"),
        ("MYNET_PORT", "70000", "MYNET_PORT=70000: .*65535"),
        ("MYNET_DEVICE", "gpu", "MYNET_DEVICE=gpu: must be auto, cpu, cuda"),
        ("MYNET_TRAIN_DEVICE", "cuda:x", "MYNET_TRAIN_DEVICE=cuda:x"),
        ("MYNET_AUTH", "key", "MYNET_AUTH=key: .*'none', 'predict' or 'keys'"),
        ("MYNET_RATE_LIMIT", "often", "MYNET_RATE_LIMIT=often: .*parse"),
        ("MYNET_RATE_LIMIT", "0/second", "MYNET_RATE_LIMIT=0/second: must allow"),
        ("MYNET_RATE_LIMIT", "1/fortnight", "MYNET_RATE_LIMIT=1/fortnight: "),
        ("MYNET_CORS_ORIGINS", "a.org", "MYNET_CORS_ORIGINS=a.org: must be"),
        ("MYNET_CORS_ORIGINS", "https://a.org/", "MYNET_CORS_ORIGINS=.*: must be"),
        ("MYNET_ALLOWED_HOSTS", "a.org:80", "MYNET_ALLOWED_HOSTS=a.org:80: must be"),
        ("MYNET_ALLOWED_HOSTS", "a.org,,b", "MYNET_ALLOWED_HOSTS=.*: must be"),
        ("MYNET_PROT", "1", "MYNET_PROT is not a setting.*MYNET_PORT"),
        ("mynet_zzz", "1", "mynet_zzz is not a setting"),
    ],
)
def test_a_bad_or_unknown_variable_is_named(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


def test_an_unknown_variable_in_env_file_is_named(tmp_path):
    (tmp_path / ".env").write_text("MYNET_PROT=1\n")
    with pytest.raises(SettingsError, match="MYNET_PROT"):
        load_settings()


@pytest.mark.parametrize(
    "line", ["MYNET_AUTH keys", "MYNET_AUTH", 'MYNET_ADMIN_KEY="keys', "mynet_auth: keys"]
)
def test_a_line_of_env_file_that_cannot_be_read_is_numbered(tmp_path, line):
    (tmp_path / ".env").write_text(f"OTHER thing\nMYNET_PORT=1\n\n\n{line}\n")
    with pytest.raises(SettingsError, match=r"^\.env, line 5: must be MYNET_NAME=value\.$"):
        load_settings()


def test_where_the_command_line_asks_does_not_stop_a_service(monkeypatch):
    monkeypatch.setenv("MYNET_URL", "http://remote:8000")
    monkeypatch.setenv("MYNET_API_KEY", "secret")
    assert load_settings().port == 8000


def test_an_env_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / ".env").write_bytes(b"MYNET_PORT=\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    ("host", "auth", "effective"),
    [
        ("127.0.0.1", None, "none"),
        ("localhost", None, "none"),
        ("::1", None, "none"),
        ("0.0.0.0", None, "keys"),
        ("0.0.0.0", "predict", "predict"),
        ("127.0.0.1", "keys", "keys"),
    ],
)
def test_beyond_loopback_keys_are_needed_unless_something_else_is_said(host, auth, effective):
    assert Settings(host=host, auth=auth).effective_auth == effective


@pytest.mark.parametrize(
    "key", ["short-sesame", "open sesame open sesame", "öpen-sesame-open-sesame"]
)
def test_a_bad_admin_key_is_told_without_it(monkeypatch, key):
    monkeypatch.setenv("MYNET_ADMIN_KEY", key)
    with pytest.raises(SettingsError, match=r"MYNET_ADMIN_KEY=\*\*\*: must be 16 to 512") as error:
        load_settings()
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize("user", ["sesame", "key:sesame", "key:ses@me"])
def test_a_bad_address_is_told_without_its_user(monkeypatch, user):
    monkeypatch.setenv("MYNET_MODELS_URL", f"s3://{user}@bucket/path")
    with pytest.raises(
        SettingsError, match=r"MYNET_MODELS_URL=s3://.*\*\*\*@bucket/path: "
    ) as error:
        load_settings()
    assert "ses" not in str(error.value)


def test_the_admin_key_is_neither_shown_nor_handed_on(monkeypatch):
    monkeypatch.setenv("MYNET_ADMIN_KEY", "open-sesame-open-sesame")
    settings = load_settings()
    assert settings.admin_key.get_secret_value() == "open-sesame-open-sesame"
    assert "MYNET_ADMIN_KEY=**********" in server._format_settings(settings)
    for text in (server._format_settings(settings), repr(settings), settings.model_dump_json()):
        assert "sesame" not in text
    monkeypatch.delenv("MYNET_ADMIN_KEY")
    assignment = Assignment(settings=settings, job_id="x", attempt=1)
    received = Assignment.model_validate_json(assignment.model_dump_json()).settings
    assert received == settings.model_copy(update={"admin_key": None})


def test_origins_are_a_list(monkeypatch):
    assert load_settings().origins == []
    monkeypatch.setenv("MYNET_CORS_ORIGINS", "https://a.org, http://localhost:3000")
    assert load_settings().origins == ["https://a.org", "http://localhost:3000"]


def test_extra_hosts_are_in_lower_case(monkeypatch):
    assert load_settings().extra_hosts == []
    monkeypatch.setenv("MYNET_ALLOWED_HOSTS", "Mynet.example, 192.0.2.7,[2001:db8::1]")
    assert load_settings().extra_hosts == ["mynet.example", "192.0.2.7", "[2001:db8::1]"]


def test_training_leaves_a_core_to_predictions(monkeypatch):
    monkeypatch.setattr("app.config.settings.available_cpus", lambda: 1)
    assert load_settings().effective_train_threads == 1
    monkeypatch.setattr("app.config.settings.available_cpus", lambda: 3)
    assert load_settings().effective_train_threads == 2
    monkeypatch.setenv("MYNET_TRAIN_THREADS", "7")
    assert load_settings().effective_train_threads == 7


def test_settings_travel_to_another_process_whole(monkeypatch):
    monkeypatch.setenv("MYNET_PORT", "1234")
    settings = load_settings()
    monkeypatch.setenv("MYNET_PORT", "999")
    assert type(settings).model_validate_json(settings.model_dump_json()) == settings


def test_jobs_that_train_at_once_share_the_cores(monkeypatch):
    monkeypatch.setattr("app.config.settings.available_cpus", lambda: 9)
    threads = [Settings(train_jobs=jobs).effective_train_threads for jobs in (1, 2, 3, 64)]
    assert threads == [4, 4, 2, 1]


SERVICE_LINKS = {
    "MYNET_SERVICE_HOST": "10.0.0.1",
    "MYNET_SERVICE_PORT": "80",
    "MYNET_SERVICE_PORT_HTTP": "80",
    "MYNET_PORT": "tcp://10.0.0.1:80",
    "MYNET_PORT_80_TCP": "tcp://10.0.0.1:80",
    "MYNET_PORT_80_TCP_ADDR": "10.0.0.1",
    "MYNET_DB_SERVICE_HOST": "10.0.0.2",
    "MYNET_DB_PORT": "tcp://10.0.0.2:5432",
    "OTHER_SERVICE_HOST": "10.0.0.3",
}


def test_service_links_of_kubernetes_are_passed_over(monkeypatch, tmp_path, caplog):
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.port == 8000
    prepare_service(settings.model_copy(update={"state_dir": tmp_path / "var"}))
    assert "service links passed over, they are no settings: MYNET_DB_PORT, MYNET" in caplog.text
    assert "OTHER" not in caplog.text
    monkeypatch.setenv("MYNET_PORT", "8001")
    assert load_settings().port == 8001


@pytest.mark.parametrize(
    ("name", "value"), [("MYNET_PORT", "tcp://10.0.0.1:80"), ("MYNET_SERVICE_PORT", "80")]
)
def test_variables_that_look_like_links_are_refused_without_a_service(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()
