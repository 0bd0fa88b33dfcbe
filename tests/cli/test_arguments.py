"""Arguments of the command line: their encoding, and the options that errors name."""

import pytest

from app.cli import context
from app.cli.groups import Verb
from app.train.jobs.hyperparameters import TrainRequest
from app.train.jobs.sweep_grid import Grid
from tests.cli.test_main import COMMANDS

LATIN_1 = "caf\udce9"  # as Python decodes the bytes of "café" in Latin-1
REQUESTS = {("train",): TrainRequest, ("sweeps", "start"): Grid}
WITHOUT_OPTION = {"promote"}  # a sweep promotes nothing


@pytest.mark.parametrize("url", [(), ("--url", "http://127.0.0.1:9")])
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("job", LATIN_1), "JOB"),
        (("jobs", "--after", LATIN_1), "--after"),
        (("checkpoints", "store", LATIN_1, 0), "JOB"),
        (("sweep", LATIN_1), "SWEEP"),
        (("datasets", "show", LATIN_1), "DATASET"),
        (("datasets", "upload", ".", "--name", LATIN_1), "--name"),
        (("models", "upload", "x.pt", "--note", LATIN_1), "--note"),
        (("promote", "--best-of", LATIN_1), "--best-of"),
        (("train", "--note", LATIN_1), "--note"),
        (("train", "--dataset", "mnist", "--dataset", LATIN_1), "--dataset"),
        (("sweeps", "start", "--name", LATIN_1), "--name"),
        (("feedback", "delete", LATIN_1), "CORRECTION"),
    ],
)
def test_text_that_is_not_utf_8_is_refused(mynet, tmp_path, arguments, name, url):
    done = mynet(*arguments, *url)
    assert done.exit_code == 2, done.exception
    assert done.stderr == f"{name} is not in UTF-8: 'caf\\udce9'. Send text in UTF-8.\n"
    assert not (tmp_path / "var").exists()


def test_every_verb_refuses_such_text():
    assert [path for path, command in COMMANDS.items() if not isinstance(command, Verb)] == []


def test_a_key_that_is_not_utf_8_is_not_printed(mynet):
    done = mynet("jobs", "--url", "http://127.0.0.1:9", "--api-key", LATIN_1)
    assert done.stderr == "--api-key is not in UTF-8. Send text in UTF-8.\n"


@pytest.mark.parametrize("path", REQUESTS, ids=" ".join)
def test_errors_name_options_that_exist(path):
    options = {name for parameter in COMMANDS[path].params for name in parameter.opts}
    fields = REQUESTS[path].model_fields.keys() & {*TrainRequest.model_fields, "name"}
    details = [{"loc": (field, 0), "msg": "bad"} for field in fields - WITHOUT_OPTION]
    lines = context.describe_invalid(details).splitlines()
    assert {line.partition(":")[0] for line in lines} <= options, lines
    assert "--dataset: bad" in lines


def test_an_upload_that_is_refused_names_the_file(mynet, tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n")
    done = mynet("datasets", "upload", tmp_path / "a.csv")
    assert done.exit_code == 2
    assert done.stderr.startswith("the file: the first line of the CSV file has 2 columns")
