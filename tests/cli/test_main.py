"""`mynet predict` and `mynet train` on a state folder, help and error messages."""

import json
import sys
from importlib.metadata import version

import pytest
import typer

from app.cli.main import app
from app.cli.state_folder import StateFolder
from app.cli.verbs.train import EventName
from app.versions.registry import Registry
from app.webhooks.request import EVENTS
from tests.client.stub import answering, problem


def commands(group, path=()):
    """Yield the path and the command of each verb."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
VERBS = """
    serve predict read feedback,list feedback,add feedback,download feedback,delete
    datasets,list datasets,show datasets,images datasets,upload datasets,delete
    train jobs,list jobs,delete job pause resume cancel checkpoints,list checkpoints,store
    sweep sweeps,list sweeps,start sweeps,cancel sweeps,delete
    promote rollback models,list models,get models,download models,upload models,delete
    keys,list keys,create keys,rotate keys,revoke db,current db,upgrade settings
"""
# They print a confirmation, a file's name or a key, and no data.
WITHOUT_JSON = """
    serve datasets,delete jobs,delete sweeps,delete feedback,download feedback,delete
    models,download models,delete
    keys,create keys,rotate keys,revoke db,upgrade
"""


def test_help_lists_every_verb(mynet):
    assert {",".join(path) for path in COMMANDS} == set(VERBS.split())
    done = mynet("--help")
    assert done.exit_code == 0
    assert [path[0] for path in COMMANDS if f"│ {path[0]} " not in done.stdout] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_has_help_and_shows_its_default(mynet, path):
    done = mynet(*path, "-h")
    assert done.exit_code == 0
    assert done.stdout == mynet(*path, "--help").stdout
    for parameter in COMMANDS[path].params:
        if parameter.name == "help":
            continue
        assert parameter.help, parameter.name
        has_default = parameter.required or parameter.default is not None or parameter.show_default
        assert has_default or parameter.name in ("version", "best_of"), parameter.name


def test_verbs_that_show_data_print_json_too():
    with_json = {
        ",".join(p) for p, c in COMMANDS.items() if "as_json" in [o.name for o in c.params]
    }
    assert with_json == set(VERBS.split()) - set(WITHOUT_JSON.split())


def test_help_of_train_describes_the_hyperparameters(mynet):
    text = " ".join(mynet("train", "--help").stdout.replace("│", " ").split())
    for default in (
        "(10; quick: 2; robust: 200)",
        "(0.01; quick: 0.006; robust: 0.1)",
        "(documented)",
        "(if_better)",
    ):
        assert f"[default: {default}]" in text


def test_version_is_printed(mynet):
    done = mynet("--version")
    assert (done.exit_code, done.stdout) == (0, f"mynet {version('mynet')}\n")


@pytest.mark.parametrize("group", ["models", "sweeps", "feedback", "keys", "datasets"])
def test_a_group_without_a_verb_lists(mynet, group):
    assert mynet(group).stdout == mynet(group, "list").stdout
    assert json.loads(mynet(group, "--json").stdout)["data"] is not None
    assert "No such command 'lsit'" in mynet(group, "lsit").output


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("jobs", "No jobs yet. Start one with: mynet train"),
        ("sweeps", "No sweeps yet. Start one with: mynet sweeps start --learning-rate 0.01"),
        ("feedback", "No corrections yet. Add one with: mynet feedback add FILE LABEL"),
        ("keys", "No keys yet. Create one with: mynet keys create NAME --scope predict"),
    ],
)
def test_an_empty_list_says_how_to_begin(mynet, verb, message):
    done = mynet(verb)
    assert done.exit_code == 0
    assert done.stdout.startswith(message)


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
    assert f"{tmp_path / 'text.png'}: " in done.stderr
    assert f"No such file: {tmp_path / 'missing.png'}\n" in done.stderr
    assert "Errno" not in done.stderr


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
    assert "Version 2 went live, as the job's rule is to make it live always." in done.stdout
    assert Registry(tmp_path / "var" / "models").current() == 2


def test_train_without_follow_leaves_the_job_to_the_service(mynet):
    done = mynet("train", "--epochs", 2, "--include-feedback", "--note", "mine")
    assert done.exit_code == 0
    assert "mynet serve" in done.stdout
    (job,) = json.loads(mynet("jobs", "--json").stdout)["data"]
    assert (job["status"], job["hyperparameters"]["epochs"]) == ("queued", 2)
    assert job["hyperparameters"]["include_feedback"] is True
    header, row = mynet("jobs").stdout.splitlines()
    assert header.split()[:2] == ["job", "status"]
    assert row.split()[:2] == [job["id"], "queued"]
    assert row.endswith("mine")


def test_a_queued_job_is_followed_and_trains_here(mynet):
    mynet("train", "--epochs", 1, "--seed", 3, "--promote", "never")
    (job,) = json.loads(mynet("jobs", "--json").stdout)["data"]
    done = mynet("job", job["id"], "--follow")
    assert done.exit_code == 0, done.output
    assert "epoch 0: " in done.stdout
    assert "Version 2 did not go live" in done.stdout


def test_train_follow_without_mlflow_queues_no_job_if_jobs_are_tracked(
    mynet, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    done = mynet("train", "--follow")
    assert done.exit_code == 2
    assert "MLFLOW_TRACKING_URI is set" in done.stderr
    assert "pip install '.[mlflow]'" in done.stderr
    assert not (tmp_path / "var").exists()


def test_webhook_of_a_job_gets_the_events_that_were_named(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_WEBHOOK_SECRET", f"whsec_{'A' * 32}")
    webhook = ("--webhook", "https://a.example/hooks?token=geheim")
    url = "https://a.example/hooks?***"
    assert [*map(str, EventName)] == [*EVENTS]
    for named in ([], ["succeeded"], ["promoted", "failed"]):
        options = [option for event in named for option in ("--webhook-event", event)]
        job = json.loads(mynet("train", *webhook, *options, "--json").stdout)
        assert job["webhook"] == {"url": url, "events": named or [*EVENTS]}
    done = mynet("train", "--webhook-event", "failed")
    assert (done.exit_code, "--webhook: Field required" in done.stderr) == (2, True)


def test_interrupted_follow_names_the_command_that_continues(mynet, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(StateFolder, "events", interrupt)
    done = mynet("train", "--follow", "--epochs", 2)
    assert done.exit_code == 130
    (job,) = json.loads(mynet("jobs", "--json").stdout)["data"]
    assert f"Follow it with: mynet job {job['id']} --follow" in done.stdout
    assert job["status"] == "queued"


def test_train_json_is_alone_on_standard_output(mynet):
    done = mynet("train", "--epochs", 2, "--json")
    assert json.loads(done.stdout)["hyperparameters"]["epochs"] == 2
    assert "seed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--epochs", "0"), "--epochs: Input should be greater than or equal to 1"),
        (("train", "--promote", "perhaps"), "--promote"),
        (("train", "--device", "gpu"), "--device: must be auto, cpu, cuda"),
        (("train", "--recipe", "secret"), "--recipe"),
        (("train", "--dataset", "x y"), "--dataset: String should match pattern"),
        (("train", "--dataset", "xy"), "--dataset: The data set 'xy' does not exist. `mynet data"),
        (("predict", "--version", "9", "x.png"), "newest"),
        (("job", "zzz"), "`mynet jobs`"),
        (("jobs", "--after", "zzz"), "'zzz'"),
        (("sweep", "zzz"), "`mynet sweeps`"),
        (("sweeps", "start", "--epochs", "1", "--epochs", "1"), "--epochs: contains a value twice"),
        (("promote", "--best-of", "zzz"), "'zzz'"),
        (("promote",), "Name either a VERSION or --best-of SWEEP."),
        (("promote", "1", "--best-of", "zzz"), "Name either a VERSION or --best-of SWEEP."),
        (("promote", "99"), "newest"),
        (("rollback",), "live"),
        (("models", "upload", "missing.pt"), "No such file: missing.pt"),
        (("models", "upload", "."), "This is a folder, and a file is needed: ."),
        (("models", "upload", "x.pt", "--note", "x" * 1001), "--note: String should have at most"),
        (("feedback", "add", "missing.png", "7"), "No such file: missing.png"),
        (("feedback", "add", "x.png", "10"), "Invalid value for 'label'"),
        (("feedback", "add", "x.png"), "either a LABEL from 0 to 9 or --not-a-digit"),
        (("feedback", "add", "x.png", "7", "--not-a-digit"), "either a LABEL from 0 to 9 or"),
        (("feedback", "add", "x.png", "7", "--prediction-id", "../x"), "up to 64 letters"),
        (("feedback", "delete", "zzz"), "`mynet feedback`"),
    ],
)
def test_what_cannot_be_done_is_said(mynet, arguments, message):
    done = mynet(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_bad_setting_is_said(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_PORT", "x")
    done = mynet("models")
    assert done.exit_code == 2
    assert "MYNET_PORT=x" in done.output


@pytest.mark.parametrize("verb", ["jobs", "models", "sweeps", "feedback", "rollback"])
def test_an_address_without_a_scheme_is_written_out(mynet, verb):
    done = mynet(verb, "--url", "localhost:8401")
    assert done.exit_code == 2
    assert done.stderr == "--url localhost:8401: write http://localhost:8401\n"


def test_a_service_that_wants_a_key_names_the_option(mynet):
    with answering(problem(401, "unauthenticated")) as stub:
        done = mynet("jobs", "--url", stub.url)
    assert done.exit_code == 2
    assert done.stderr.startswith("This service wants a key: --api-key or MYNET_API_KEY.")


@pytest.mark.parametrize(
    ("options", "sent"), [((), "in-the-file"), (("--api-key", "given"), "given")]
)
def test_key_comes_from_the_file_that_a_variable_names(mynet, tmp_path, monkeypatch, options, sent):
    file = tmp_path / "key"
    file.write_text("in-the-file\n")
    monkeypatch.setenv("MYNET_API_KEY_FILE", str(file))
    page = (200, {}, b'{"data": [], "has_more": false}')
    with answering(page) as stub:
        done = mynet("jobs", "--url", stub.url, *options)
    assert done.exit_code == 0, done.output
    assert stub.seen[0].headers["Authorization"] == f"Bearer {sent}"


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read: No such file"), ("\n", "is empty")]
)
def test_key_file_without_a_key_is_refused(mynet, tmp_path, monkeypatch, content, message):
    file = tmp_path / "key"
    if content:
        file.write_text(content)
    monkeypatch.setenv("MYNET_API_KEY_FILE", str(file))
    done = mynet("jobs", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert f"MYNET_API_KEY_FILE={file} {message}" in done.stderr


def test_control_characters_do_not_reach_the_terminal(mynet):
    mynet("train", "--note", "red \x1b[31m\nnew line")
    _, row = mynet("jobs").stdout.splitlines()
    assert row.endswith(r"red \x1b[31m\nnew line")


def test_a_list_names_the_command_for_its_next_page(mynet):
    for _ in range(3):
        mynet("train")
    first = mynet("jobs", "--limit", 2)
    assert "There are more: mynet jobs --after " in first.stdout
    command = first.stdout.splitlines()[-1].removeprefix("There are more: mynet ").split()
    rest = mynet(*command, "--limit", 2).stdout.splitlines()
    assert len(rest) == 2
    assert rest[1].split()[0] not in first.stdout
    assert mynet("jobs", "--status", "failed").stdout == "No failed jobs.\n"
