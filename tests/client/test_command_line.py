"""`mynet --url`: the verbs, asked of a running service."""

import json

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from tests.client.stub import answering
from tests.conftest import ROOT

SEVEN = ROOT / "docs/images/seven.jpg"
TWO_LINES = ROOT / "docs/images/two-lines.png"


@pytest.fixture
def mynet(monkeypatch, tmp_path, url):
    monkeypatch.setenv("MYNET_STATE_DIR", str(tmp_path / "untouched"))
    monkeypatch.setenv("MYNET_URL", url)
    monkeypatch.setenv("COLUMNS", "200")
    yield lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert not (tmp_path / "untouched").exists()


def test_predict(mynet, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    done = mynet("predict", SEVEN, tmp_path / "text.png", tmp_path / "missing.png", "--version", 1)
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{SEVEN}: 7  ")
    assert "not a readable image" in done.stderr
    assert "missing.png" in done.stderr


def test_predict_gives_the_fields_that_it_gives_without(mynet, tmp_path, monkeypatch):
    remote_result = json.loads(mynet("predict", "--json", SEVEN).stdout)
    monkeypatch.delenv("MYNET_URL")
    monkeypatch.setenv("MYNET_STATE_DIR", str(tmp_path / "var"))
    local_result = json.loads(mynet("predict", "--json", SEVEN).stdout)
    assert remote_result["digit"] == local_result["digit"] == 7
    assert local_result.keys() <= remote_result.keys()


def places(reading):
    """Return the text of a reading, and its digits with their boxes."""
    digits = [digit for line in reading["lines"] for digit in line["digits"]]
    return reading["text"], [(digit["digit"], digit["box"]) for digit in digits]


def test_read_prints_lines_with_a_service_and_without(mynet, tmp_path, monkeypatch):
    remote = mynet("read", "--version", 1, TWO_LINES)
    assert remote.exit_code == 0, remote.stderr
    remote_result = json.loads(mynet("read", "--json", "--version", 1, TWO_LINES).stdout)
    monkeypatch.delenv("MYNET_URL")
    monkeypatch.setenv("MYNET_STATE_DIR", str(tmp_path / "var"))
    local_result = json.loads(mynet("read", "--json", "--version", 1, TWO_LINES).stdout)
    assert places(remote_result) == places(local_result)
    lines = [line.split()[0] for line in remote.stdout.splitlines()]
    assert lines == remote_result["text"].split("\n")


def test_read_of_an_invalid_file_exits_1(mynet, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    done = mynet("read", tmp_path / "text.png", TWO_LINES)
    assert done.exit_code == 1
    assert "text.png" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_predict_warns_of_several_digits(mynet):
    assert "one of 6 digits" in mynet("predict", TWO_LINES).stdout


def test_models(mynet):
    done = mynet("models")
    assert done.exit_code == 0
    assert " live" in done.stdout


def test_what_is_wrong_is_said(mynet):
    done = mynet("train", "--epochs", "0")
    assert done.exit_code == 2
    assert "--epochs" in done.output


def test_the_option_wins_and_nobody_there_is_said(mynet, monkeypatch):
    monkeypatch.setattr("app.cli.remote.ATTEMPTS", 1)
    with answering() as stub:
        pass
    done = mynet("models", "--url", stub.url)
    assert done.exit_code == 2
    assert f"{stub.url}/models does not answer" in done.output.replace("\n", "")
    assert "Traceback" not in done.output
