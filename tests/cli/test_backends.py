"""The verbs on a state folder and by a service on it: the same words, the same JSON."""

import json
import re

import pytest

from app.versions.registry import Registry
from tests.service.running import run_service, wait_until

JOB = ("--epochs", 1000, "--seed", 1, "--promote", "never")
# Enough batches for a line of the log.
SHORT_JOB = ("--epochs", 2, "--batch-size", 10, "--seed", 3)
CHECKPOINTS = ("--keep-checkpoints", "--validation-fraction", 0.2, "--early-stopping", 1)
SWEEP = {"seed": [1, 2], "epochs": 1, "name": "seeds"}


@pytest.fixture(scope="module")
def service(tmp_path_factory, small_data_dir):
    state = tmp_path_factory.mktemp("cli") / "var"
    with run_service(state, data_dir=small_data_dir) as service:
        service.state = state
        yield service


@pytest.fixture(scope="module")
def finished_sweep(service):
    """A sweep whose two jobs have ended, for all tests that look at one."""
    sweep = service.post("/sweeps", json.dumps(SWEEP).encode())["id"]
    assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["finished_at"])
    return service.get(f"/sweeps/{sweep}")


@pytest.fixture(params=["state folder", "service"])
def mynet(request, service, run, tmp_path, monkeypatch, small_data_dir):
    """Run `mynet` beside a service, on its state folder or with its address."""
    monkeypatch.setenv("MYNET_DATA_DIR", str(small_data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    if request.param == "service":
        monkeypatch.setenv("MYNET_STATE_DIR", str(tmp_path / "untouched"))
        monkeypatch.setenv("MYNET_URL", f"http://127.0.0.1:{service.port}")
        yield run
        assert not (tmp_path / "untouched").exists()
    else:
        monkeypatch.setenv("MYNET_STATE_DIR", str(service.state))
        yield run


@pytest.fixture
def answer(mynet):
    """Run a verb with `--json`, and return what it printed."""

    def run(*arguments):
        done = mynet(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def followed_trainings():
    return {}


@pytest.fixture
def followed(request, mynet, answer, followed_trainings):
    """What `train --follow` printed, and its job: one training for all tests of a backend."""
    way = request.node.callspec.params["mynet"]
    if way not in followed_trainings:
        done = mynet("train", *SHORT_JOB, *CHECKPOINTS, "--max-seconds", 500, "--follow")
        assert done.exit_code == 0, done.output
        followed_trainings[way] = done.stdout, answer("jobs", "--limit", 1)["data"][0]
    return followed_trainings[way]


def test_job_is_listed_shown_paused_resumed_and_cancelled(mynet, answer, service):
    job = answer("train", *JOB, "--note", "long")["id"]
    service.job_until(job, lambda body: body["progress"])
    assert answer("job", job)["progress"]
    done = mynet("pause", job)
    assert (done.exit_code, done.stdout) == (0, f"Job {job} is paused.\n")
    assert answer("jobs", "--status", "paused")["data"][0]["id"] == job
    header, row, *_ = mynet("jobs").stdout.splitlines()
    assert header.split() == ["job", "status", "made", "(UTC)", "done", "version", "accuracy",
                              "note"]  # fmt: skip
    assert re.match(rf"{job}  paused +[\d-]+ [\d:]+ +\d+ % +long$", row)
    assert f"Job {job} is " in mynet("resume", job).stdout
    assert answer("cancel", job)["status"] == "cancelled"
    done = mynet("resume", job)
    assert done.exit_code == 2
    assert "cancelled" in done.stderr
    text = mynet("job", job).stdout
    assert re.search(rf"^job +{job}$", text, re.MULTILINE)
    assert re.search(r"^hyperparameters +recipe documented, epochs 1000, ", text, re.MULTILINE)
    assert re.search(r"^outcome +cancelled", text, re.MULTILINE)


def test_job_is_followed_and_its_log_printed(mynet, followed):
    printed, job = followed
    assert f"job {job['id']}, seed 3\n" in printed
    assert "epoch 0: " in printed
    assert "did not go live: it reads " in printed
    assert "This is no failure: the tutorial's recipe is for learning, and version 2" in printed
    assert f"\nMake it live with: mynet promote {job['result']['version']}\n" in printed
    assert mynet("job", job["id"], "--log").stdout.startswith("==>>> epoch: 0, batch index: 100")
    text = mynet("job", job["id"]).stdout
    assert re.search(
        r"^epoch +train loss +validation loss +test loss +accuracy +seconds$", text, re.MULTILINE
    )
    done = mynet("job", job["id"], "--follow")
    assert done.exit_code == 0
    version = job["result"]["version"]
    assert re.search(rf"^outcome +Version {version} did not go live", done.stdout, re.MULTILINE)
    assert f"Make it live with: mynet promote {version}" in done.stdout


def test_dry_run_prints_the_plan_and_queues_nothing(mynet, answer):
    before = answer("jobs")
    plan = answer("train", "--dry-run", "--epochs", 3, "--batch-size", 7)
    assert (plan["hyperparameters"]["epochs"], plan["steps"]) == (3, 3 * 286)
    text = mynet("train", "--dry-run").stdout
    assert re.search(r"^images +2,000 \(0 \d+, 1 \d+", text, re.MULTILINE)
    assert "Nothing was queued" in text
    assert answer("jobs") == before


def test_checkpoint_is_listed_stored_and_begun_with(mynet, answer, followed):
    _, job = followed
    assert job["hyperparameters"]["early_stopping"] == {"patience": 1, "min_delta": 0.0}
    text = mynet("checkpoints", "list", job["id"]).stdout
    assert re.match(r"epoch +train loss +validation loss +test loss +accuracy +bytes\n0 ", text)
    assert answer("checkpoints", "list", job["id"])["data"][0]["epoch"] == 0
    done = mynet("checkpoints", "store", job["id"], 0)
    version = answer("checkpoints", "store", job["id"], 0)["version"]
    assert f"Make it live with: mynet promote {version}" in done.stdout
    for init, field in ((f"{job['id']}:0", "epoch"), (str(version), "version")):
        queued = answer("train", "--init", init, "--note", "going on")
        assert queued["hyperparameters"]["init"][field] == (0 if field == "epoch" else version)
        answer("cancel", queued["id"])
    done = mynet("train", "--init", 999, "--dry-run")
    assert (done.exit_code, "--init: Version 999 does not exist" in done.stderr) == (2, True)


def test_follow_of_a_cancelled_job_exits_with_1(mynet, answer):
    job = answer("train", *JOB)["id"]
    answer("cancel", job)
    assert mynet("job", job, "--follow").exit_code == 1
    assert mynet("job", job).exit_code == 0


def test_sweep_is_started_and_cancelled(mynet, answer):
    sweep = answer("sweeps", "start", "--seed", 1, "--seed", 2, "--epochs", 1000, "--name", "long")
    assert (sweep["name"], sweep["hyperparameters"]["epochs"]) == ("long", 1000)
    assert [job["hyperparameters"] for job in sweep["jobs"]] == [{"seed": 1}, {"seed": 2}]
    done = mynet("promote", "--best-of", sweep["id"])
    assert done.exit_code == 2
    assert re.search(f"Sweep {sweep['id']} is (queued|running)", done.stderr)
    done = mynet("sweeps", "cancel", sweep["id"])
    assert (done.exit_code, done.stdout) == (0, f"Sweep {sweep['id']} is cancelled.\n")
    assert {job["status"] for job in answer("sweep", sweep["id"])["jobs"]} == {"cancelled"}
    done = mynet("promote", "--best-of", sweep["id"])
    assert done.exit_code == 2
    assert f"Sweep {sweep['id']} cancelled without a version to promote." in done.stderr


def test_sweep_is_shown_and_its_best_promoted(mynet, answer, finished_sweep):
    sweep, best = finished_sweep["id"], finished_sweep["best"]
    before = answer("models")["current"]
    assert before != best["version"]
    text = mynet("sweep", sweep).stdout
    assert re.search(rf"{best['id']} +seed {best['hyperparameters']['seed']} .* best$", text, re.M)
    assert f"mynet promote --best-of {sweep}" in text
    assert re.search(rf"^{sweep}  succeeded .* 2 +{best['version']} .* seeds$",
                     mynet("sweeps").stdout, re.M)  # fmt: skip
    done = mynet("promote", "--best-of", sweep)
    assert f"Version {best['version']} is live." in done.stdout
    assert answer("models")["current"] == best["version"]
    assert answer("rollback")["version"] == before


def test_version_is_downloaded_uploaded_promoted_and_deleted(mynet, answer, service):
    done = mynet("models", "download", 1)
    assert (done.exit_code, done.stdout) == (0, "mynet-1.safetensors\n")
    done = mynet("models", "download", 1)
    assert done.exit_code == 2
    assert done.stderr == "This file exists: mynet-1.safetensors. Pass --force to replace it.\n"
    assert mynet("models", "download", 1, "--force").exit_code == 0
    assert mynet("models", "download", 1, "--format", "onnx", "-o", "mine.onnx").exit_code == 0
    before = answer("models")["current"]
    card = answer("models", "upload", "mynet-1.safetensors", "--note", "mine")
    version, accuracy = card["version"], f"{100 * card['test_accuracy']:.2f} %"
    assert card["weights_digest"] == answer("models", "get", 1)["weights_digest"]
    assert answer("models")["current"] == before
    assert re.search(rf"^{version} +{accuracy} +uploaded .* mine$", mynet("models").stdout, re.M)
    text = mynet("models", "get", version).stdout
    assert re.search(rf"^accuracy +{accuracy} of the test images \(95 %: ", text, re.M)
    assert f"Version {version} is live. It reads {accuracy}" in mynet("promote", version).stdout
    assert Registry(service.state / "models").current() == version
    assert re.search(rf"^{version} live ", mynet("models").stdout, re.M)
    done = mynet("models", "delete", version)
    assert (done.exit_code, "live" in done.stderr) == (2, True)
    assert f"Version {before} is live." in mynet("rollback").stdout
    assert mynet("models", "delete", version).stdout == f"Version {version} is deleted.\n"
    assert mynet("models", "get", version).exit_code == 2


def test_upload_says_how_to_go_live(mynet):
    mynet("models", "download", 1)
    done = mynet("models", "upload", "mynet-1.safetensors")
    version = re.match(r"Version (\d+) reads [\d.]+ % of the test images right.\n", done.stdout)[1]
    assert f"Make it live with: mynet promote {version}\n" in done.stdout
    mynet("models", "delete", version)


def test_file_that_holds_no_weights_is_refused(mynet, tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    done = mynet("models", "upload", "text.pt")
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_correction_is_added_replaced_listed_downloaded_and_deleted(mynet, answer, images):
    correction = answer("feedback", "add", images[0], 7, "--prediction-id", "abc")
    assert (correction["label"], correction["prediction_id"]) == (7, "abc")
    identifier = correction["id"]
    done = mynet("feedback", "add", images[0], 1)
    assert done.exit_code == 2
    assert "--replace" in done.stderr
    done = mynet("feedback", "add", images[0], 1, "--replace")
    assert done.stdout == f"Correction {identifier}: the image shows a 1.\n"
    answer("feedback", "add", images[1], 2)
    page = answer("feedback", "--limit", 1)
    assert ([entry["label"] for entry in page["data"]], page["has_more"]) == ([2], True)
    rest = mynet("feedback", "--after", page["data"][0]["id"]).stdout.splitlines()
    assert rest[0].split() == ["correction", "label", "made", "(UTC)", "prediction"]
    assert rest[1].startswith(f"{identifier}  1 ")
    assert mynet("feedback", "download", identifier).stdout == f"{identifier}.png\n"
    assert mynet("predict", f"{identifier}.png").stdout.startswith(f"{identifier}.png: 7  ")
    for entry in (identifier, page["data"][0]["id"]):
        done = mynet("feedback", "delete", entry)
        assert done.stdout == f"Correction {entry} is deleted.\n"
    assert answer("feedback") == {"data": [], "has_more": False}


def test_correction_may_show_no_digit(mynet, answer, images):
    correction = answer("feedback", "add", images[0], "--not-a-digit")
    assert (correction["label"], correction["is_digit"]) == (None, False)
    identifier = correction["id"]
    done = mynet("feedback", "add", images[0], 7)
    assert done.exit_code == 2 and "is stored as no digit already" in done.stderr
    answer("feedback", "add", images[1], 7)
    done = mynet("feedback", "add", images[1], "--not-a-digit", "--replace")
    assert done.stdout.endswith(": the image shows no digit.\n")
    lines = mynet("feedback").stdout.splitlines()[1:]
    assert len(lines) == 2 and all(" no digit " in line for line in lines)
    dataset = answer("datasets", "show", "corrections")
    assert (dataset["images"], dataset["non_digits"]) == (2, 2)
    assert "no digit" in mynet("datasets", "show", "corrections").stdout
    plan = mynet("train", "--include-feedback", "--recipe", "robust", "--dry-run").stdout
    assert re.search(r"^no digit\s+2$", plan, re.MULTILINE)
    for entry in answer("feedback")["data"]:
        mynet("feedback", "delete", entry["id"])
    assert identifier not in mynet("feedback").stdout


def test_images_of_a_data_set_are_listed_by_label(mynet, answer):
    page = answer("datasets", "images", "mnist", "--label", 5, "--limit", 2)
    assert ([image["label"] for image in page["data"]], page["has_more"]) == ([5, 5], True)
    assert page["data"][0]["image"].startswith("data:image/png;base64,")
    first, second = (image["id"] for image in page["data"])
    lines = mynet("datasets", "images", "mnist", "--label", 5, "--limit", 2).stdout.splitlines()
    assert [line.split() for line in lines[:3]] == [["image", "label"], [first, "5"], [second, "5"]]
    command = f"mynet datasets images mnist --label 5 --after {second}"
    assert lines[3] == f"There are more: {command}"
    rest = mynet(*command.split()[1:], "--limit", 1).stdout.splitlines()
    assert int(rest[1].split()[0]) > int(second)
    assert mynet("datasets", "images", "corrections").stdout == "No images.\n"
    done = mynet("datasets", "images", "absent")
    assert (done.exit_code, "absent" in done.stderr) == (2, True)


def test_image_without_ink_is_no_correction(mynet, tmp_path):
    from PIL import Image

    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    done = mynet("feedback", "add", "blank.png", 7)
    assert done.exit_code == 2
    assert "ink" in done.stderr


def test_both_ways_print_the_same_json(
    service, run, monkeypatch, images, small_data_dir, finished_sweep
):
    monkeypatch.setenv("MYNET_STATE_DIR", str(service.state))
    monkeypatch.setenv("MYNET_DATA_DIR", str(small_data_dir))
    url = ("--url", f"http://127.0.0.1:{service.port}")
    sweep, job = finished_sweep["id"], finished_sweep["best"]["id"]
    run("feedback", "add", images[0], 7)
    for verb in (
        *(["jobs"], ["job", job], ["sweeps"], ["sweep", sweep], ["feedback"]),
        *(["models"], ["models", "get", "1"]),
    ):
        local, remote = (json.loads(run(*verb, "--json", *way).stdout) for way in ([], url))
        assert local == remote, verb


def test_a_job_and_a_sweep_are_deleted_when_they_have_ended(mynet, answer):
    job = answer("train", *JOB)["id"]
    done = mynet("jobs", "delete", job)
    assert done.exit_code == 2
    assert "cannot be deleted. Cancel it first." in done.stderr
    mynet("cancel", job)
    assert mynet("jobs", "delete", job).stdout == f"Job {job} is deleted.\n"
    assert "does not exist" in mynet("job", job).stderr
    sweep = answer("sweeps", "start", "--epochs", 900, "--epochs", 1000)["id"]
    mynet("sweeps", "cancel", sweep)
    assert wait_until(lambda: "is deleted" in mynet("sweeps", "delete", sweep).stdout)
    assert "does not exist" in mynet("sweep", sweep).stderr
