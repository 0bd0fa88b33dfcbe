"""`mynet serve` and `mynet settings`: options, the block at the start, settings without secrets."""

import json
import os
import re

import pytest

from app.cli.verbs.serve import serve
from app.config.settings import PREFIX, Settings, load_settings
from app.server import server

ADMIN_KEY = "open-sesame-open-sesame"


@pytest.fixture
def started(mynet, monkeypatch):
    """Run `mynet serve` without a server: return the result, and the settings of the server."""
    monkeypatch.setenv("MYNET_PORT", "0")
    settings = []
    monkeypatch.setattr(server, "_serve", settings.append)

    def start(*arguments):
        # What options set in the environment, monkeypatch takes back after the test.
        for argument in arguments:
            if str(argument).startswith("--"):
                monkeypatch.setenv(variable := _variable(argument), os.environ.get(variable, ""))
        settings.clear()
        return mynet("serve", *arguments), *settings

    return start


def _variable(option):
    return PREFIX + option.removeprefix("--").replace("-", "_").upper()


def test_serve_options_override_the_environment(started, monkeypatch, tmp_path):
    monkeypatch.setenv("MYNET_WORKERS", "1")
    done, settings = started(
        *("--host", "localhost", "--port", 0, "--workers", 2, "--device", "cpu"),
        *("--state-dir", tmp_path / "other", "--auth", "predict", "--log-level", "warning"),
    )
    assert done.exit_code == 0, done.output
    assert (settings.host, settings.workers, settings.device) == ("localhost", 2, "cpu")
    assert (settings.state_dir, settings.auth) == (tmp_path / "other", "predict")
    assert settings.log_level == "warning"


def test_serve_options_reach_worker_processes(started):
    """They read the environment, as `create_app` does without settings."""
    _, settings = started("--workers", 2, "--log-level", "error")
    assert os.environ["MYNET_WORKERS"] == "2"
    assert load_settings() == settings


def test_serve_option_wins_over_a_variable_in_lower_case(started, monkeypatch):
    monkeypatch.setenv("mynet_log_level", "debug")
    _, settings = started("--log-level", "error")
    assert settings.log_level == "error"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--port", "70000"), "Invalid value for '--port'"),
        (("--workers", "0"), "Invalid value for '--workers'"),
        (("--device", "gpu"), "MYNET_DEVICE=gpu: must be auto, cpu, cuda"),
        (("--log-level", "loud"), "Invalid value for '--log-level'"),
        (("--on", "mars"), "Invalid value for '--on'"),
    ],
)
def test_serve_refuses_a_bad_option(started, arguments, message):
    (done,) = started(*arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_serve_has_no_option_for_a_secret():
    names = {name.lower() for name in serve.__annotations__}
    assert "admin_key" not in names


def test_serve_prints_address_version_device_and_state(started, monkeypatch, tmp_path):
    monkeypatch.setattr(server, "_check_port", lambda _: None)
    done, _ = started("--port", 8123, "--device", "cpu")
    address, *fields = done.stdout.splitlines()
    assert re.fullmatch(r"MyNet [\d.]+: open http://127\.0\.0\.1:8123", address)
    assert [re.split(" {2,}", field.strip()) for field in fields] == [
        ["live version", "1"],
        ["device", "cpu"],
        ["state folder", str(tmp_path / "var")],
    ]
    assert "MYNET_MAX_QUEUE" not in done.output


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://127.0.0.1:8123"), ("::1", "http://[::1]:8123")],
)
def test_serve_prints_an_address_that_a_browser_can_open(started, monkeypatch, host, address):
    monkeypatch.setattr(server, "_check_port", lambda _: None)
    done, _ = started("--host", host, "--port", 8123, "--auth", "none")
    assert f"open {address}\n" in done.stdout


def test_serve_names_no_address_for_a_port_that_the_system_chooses(started):
    done, _ = started("--device", "cpu")
    assert "open the address that the log names\n" in done.stdout


def test_serve_with_json_logs_prints_only_json(started, tmp_path):
    done, _ = started("--log-format", "json", "--device", "cpu")
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (line,) = [line for line in lines if line["message"].startswith("prepared: ")]
    assert (line["live_version"], line["device"]) == (1, "cpu")
    assert line["state_folder"] == str(tmp_path / "var")


def test_serve_logs_all_settings_with_debug(started, monkeypatch):
    monkeypatch.setenv("MYNET_ADMIN_KEY", ADMIN_KEY)
    done, _ = started("--log-level", "debug", "--auth", "keys")
    (line,) = [line for line in done.stderr.splitlines() if "settings: " in line]
    assert all(f"{PREFIX}{name.upper()}=" in line for name in Settings.model_fields)
    assert "sesame" not in done.output


def test_settings_shows_value_default_and_meaning(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_PORT", "8123")
    header, *rows = mynet("settings").stdout.splitlines()
    assert header.split() == ["setting", "value", "default", "meaning"]
    assert [row.split()[0] for row in rows] == [
        PREFIX + name.upper() for name in Settings.model_fields
    ]
    (row,) = [row for row in rows if row.startswith("MYNET_PORT ")]
    assert re.split(" {2,}", row)[1:3] == ["8123", "8000"]
    assert row.endswith(Settings.model_fields["port"].description)


def test_settings_mask_secrets(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_ADMIN_KEY", ADMIN_KEY)
    monkeypatch.setenv("MYNET_DATABASE_URL", "postgresql://me:sesame@host/name")
    for arguments in ([], ["--json"]):
        done = mynet("settings", *arguments)
        assert done.exit_code == 0
        assert "sesame" not in done.output
        assert "**********" in done.stdout
        assert "@host/name" in done.stdout


def test_settings_as_json(mynet):
    data = json.loads(mynet("settings", "--json").stdout)["data"]
    (port,) = [setting for setting in data if setting["name"] == "MYNET_PORT"]
    assert (port["value"], port["default"]) == ("8000", 8000)
    (key,) = [setting for setting in data if setting["name"] == "MYNET_ADMIN_KEY"]
    assert (key["value"], key["default"]) == (None, None)


def test_settings_that_are_wrong_are_named(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_PORT", "x")
    done = mynet("settings")
    assert (done.exit_code, "MYNET_PORT=x" in done.stderr) == (2, True)
