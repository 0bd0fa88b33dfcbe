"""Secrets from files, as Docker and Kubernetes mount them."""

import pytest

from app.config.settings import FROM_FILES, Settings, SettingsError, load_settings
from app.server.displayed_settings import displayed_settings

KEY = "open-sesame-open-sesame"
WEBHOOK = {
    "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "webhook_url": "https://a.example/hooks?token=open-sesame",
}


@pytest.fixture(autouse=True)
def isolated_folder(tmp_path, monkeypatch):
    """A folder without `.env`."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def secret(tmp_path):
    """A file with a secret, and a line break at its end."""
    file = tmp_path / "secret"
    file.write_text(f"{KEY}\n")
    return file


@pytest.mark.parametrize("name", FROM_FILES)
def test_secret_file_is_the_value_of_its_setting(monkeypatch, secret, name):
    text = WEBHOOK.get(name, KEY)
    secret.write_text(f"{text}\n")
    if name == "webhook_url":  # is refused without the secret that signs
        monkeypatch.setenv("MYNET_WEBHOOK_SECRET", WEBHOOK["webhook_secret"])
    monkeypatch.setenv(f"MYNET_{name.upper()}_FILE", str(secret))
    value = getattr(load_settings(), name)
    assert getattr(value, "get_secret_value", lambda: value)() == text


def test_webhook_url_without_the_secret_that_signs_is_refused(monkeypatch):
    monkeypatch.setenv("MYNET_WEBHOOK_URL", f"https://a.example/?token={KEY}")
    with pytest.raises(SettingsError, match="without MYNET_WEBHOOK_SECRET") as error:
        load_settings()
    assert KEY not in str(error.value)


def test_webhook_settings_show_no_secret():
    settings = Settings(**WEBHOOK, webhook_allow="10.0.0.0/8")
    displayed = str(displayed_settings(settings))
    assert not [text for text in WEBHOOK.values() if text in displayed]
    assert "10.0.0.0/8" in displayed
    assert not [text for text in WEBHOOK.values() if text in settings.model_dump_json()]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WEBHOOK_SECRET", "sesame"),
        ("WEBHOOK_URL", "https://user:sesame@a.example/"),
        ("WEBHOOK_ALLOW", "http://a.example"),
        ("RETRAIN_AFTER", "0"),
    ],
)
def test_setting_of_another_form_is_refused_by_name_without_its_secret(
    monkeypatch, variable, value
):
    monkeypatch.setenv(f"MYNET_{variable}", value)
    with pytest.raises(SettingsError, match=f"^MYNET_{variable}=") as error:
        load_settings()
    assert "sesame" not in str(error.value)


def test_secret_file_may_be_named_in_env_file(tmp_path, secret):
    (tmp_path / ".env").write_text(f"MYNET_ADMIN_KEY_FILE={secret}\n")
    assert load_settings().admin_key.get_secret_value() == KEY


def test_secret_file_beside_its_value_is_refused(monkeypatch, secret):
    monkeypatch.setenv("MYNET_ADMIN_KEY_FILE", str(secret))
    monkeypatch.setenv("MYNET_ADMIN_KEY", KEY)
    with pytest.raises(SettingsError, match="MYNET_ADMIN_KEY and MYNET_ADMIN_KEY_FILE are both"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "_FILE=secret cannot be read: No such file"),
        (b"\n", "_FILE=secret is empty"),
        (b"\xff", "_FILE=secret cannot be read: it is not UTF-8 text"),
        (b"short-sesame", r"_FILE=\*\*\*: must be 16 to 512"),
    ],
)
def test_secret_file_that_cannot_be_used_is_named_without_its_content(
    monkeypatch, tmp_path, content, message
):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("MYNET_ADMIN_KEY_FILE", "secret")
    with pytest.raises(SettingsError, match=f"MYNET_ADMIN_KEY{message}") as error:
        load_settings()
    assert "sesame" not in str(error.value)


def test_file_of_a_setting_without_secret_is_unknown(monkeypatch, secret):
    monkeypatch.setenv("MYNET_PORT_FILE", str(secret))
    with pytest.raises(SettingsError, match="MYNET_PORT_FILE is not a setting"):
        load_settings()


def test_setting_as_an_argument_precedes_the_file(monkeypatch, secret):
    monkeypatch.setenv("MYNET_DATABASE_URL_FILE", str(secret))
    assert Settings(database_url="sqlite:///x.db").database_url == "sqlite:///x.db"
