"""`mynet`, as people type it. `serve` is tested in tests/service."""

import json

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.versions.registry import Registry
from tests.conftest import png


@pytest.fixture
def mynet(tmp_path, monkeypatch, small_data_dir):
    monkeypatch.setenv("MYNET_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("MYNET_DATA_DIR", str(small_data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def images(tmp_path, mnist):
    paths = []
    for index in (0, 1):
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(png(mnist.test.pixels[index].numpy()))
    return paths


def test_help_lists_the_verbs(mynet):
    done = mynet("--help")
    assert done.exit_code == 0
    for verb in ("serve", "predict", "train", "models"):
        assert verb in done.stdout


def test_predict_reads_every_file(mynet, images):
    done = mynet("predict", *images)
    assert done.exit_code == 0
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{images[0]}: 7  ")
    assert second.startswith(f"{images[1]}: 2  ")


def test_predict_gives_json_lines(mynet, images):
    answers = [json.loads(line) for line in mynet("predict", "--json", *images).stdout.splitlines()]
    assert [(answer["digit"], answer["version"]) for answer in answers] == [(7, 1), (2, 1)]


def test_predict_goes_on_past_what_it_cannot_read(mynet, images, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    done = mynet("predict", tmp_path / "text.png", tmp_path / "missing.png", images[0])
    assert done.exit_code == 1
    assert "7" in done.stdout
    assert "text.png" in done.stderr
    assert "missing.png" in done.stderr


def test_models_marks_the_live_version(mynet):
    done = mynet("models")
    assert done.exit_code == 0
    assert "1 live" in done.stdout
    assert "97.21 %" in done.stdout


def test_train_follow_trains_here_where_no_service_does(mynet, tmp_path):
    done = mynet("train", "--follow", "--epochs", 1, "--seed", 3, "--promote", "always")
    assert done.exit_code == 0, done.output
    assert "seed 3" in done.stdout
    assert "epoch 0: " in done.stdout
    assert "100 %" in done.stdout
    assert "version 2 is live: promote: always was asked for" in done.stdout
    assert Registry(tmp_path / "var" / "models").current() == 2


def test_train_without_follow_leaves_the_job_to_the_service(mynet):
    done = mynet("train", "--epochs", 2, "--include-feedback")
    assert done.exit_code == 0
    assert "mynet serve" in done.stdout
    store = JobStore(Database(Settings().effective_database_url))
    (job,) = store.jobs()
    assert (job.status, job.hyperparameters["epochs"]) == ("queued", 2)
    assert job.hyperparameters["include_feedback"] is True
    store.database.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--epochs", "0"), "--epochs: Input should be greater than or equal to 1"),
        (("train", "--promote", "perhaps"), "--promote"),
        (("train", "--device", "gpu"), "--device: must be auto, cpu, cuda"),
        (("predict", "--version", "9", "x.png"), "Version 9 does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(mynet, arguments, message):
    done = mynet(*arguments)
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_bad_setting_is_said(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_PORT", "x")
    done = mynet("models")
    assert done.exit_code == 2
    assert "MYNET_PORT=x" in done.output
