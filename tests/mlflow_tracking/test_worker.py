"""Jobs as runs of MLflow, in a store of plain files."""

import json

import pytest

from app.database.sweeps import SweepStore
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.sweep_grid import Grid
from app.train.supervisor.mlflow_process import DEFAULTS
from tests.train.worker.test_resume import interrupt_after

pytest.importorskip("mlflow", reason="an extra, which `make test-service` installs")

from mlflow import MlflowClient
from mlflow.entities import Metric

from app.mlflow_tracking import run_logger, worker
from app.mlflow_tracking.worker import MlflowSync

PER_EPOCH = ("train_loss", "test_loss", "test_accuracy", "seconds")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, value in DEFAULTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    monkeypatch.setattr(worker, "RETRY_INTERVAL", 0.0)
    return tmp_path / "runs"


@pytest.fixture
def sync(settings, store, registry):  # noqa: ARG001, there is a version to beat
    """Log all jobs, as a process does that has just started."""
    return lambda: MlflowSync(settings, store.database).sync()


def get_run(job_id):
    """The one run of a job."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name("mynet").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`mynet.job` = '{job_id}'")
    return run


def points(run, name):
    history = MlflowClient().get_metric_history(run.info.run_id, name)
    return [(point.step, point.value) for point in history]


def epoch_points(job, name):
    return [(epoch["epoch"], epoch[name]) for epoch in job.epochs]


def test_a_job_that_succeeded_is_there_whole(start, store, registry, sync, tmp_path):
    attempt = start(note="by hand", promote="never")
    attempt.run()
    sync()
    run, job = get_run(attempt.job.id), store.job(attempt.job.id)
    version = job.result["version"]
    assert run.info.status == "FINISHED"
    assert run.info.end_time == int(job.finished_at.timestamp() * 1000)
    assert run.data.params == {
        name: str(value) for name, value in job.hyperparameters.items() if value is not None
    }
    assert run.data.params["seed"] == "11"
    for name in PER_EPOCH:
        assert points(run, name) == epoch_points(job, name)
    assert run.data.metrics["final_test_accuracy"] == job.result["test_accuracy"]
    assert run.data.tags["mynet.version"] == str(version)
    assert (run.data.tags["mynet.recipe"], run.data.tags["mynet.attempt"]) == ("documented", "1")
    assert run.data.tags["mynet.promoted"] == "False"
    assert run.data.tags["mynet.reason"] == job.result["reason"]
    assert run.data.tags["mlflow.note.content"] == "by hand"
    artifact_dir = MlflowClient().download_artifacts(run.info.run_id, "", str(tmp_path))
    weights = registry.path(version)
    assert (tmp_path / artifact_dir / weights.name).read_bytes() == weights.read_bytes()
    card = json.loads((tmp_path / artifact_dir / "card.json").read_text())
    assert (card["version"], card["job"]) == (version, job.id)


def test_a_run_names_the_sweep_of_its_job(store, start, sync):
    row = sweep.create(SweepStore(store.database), Grid(seed=[1, 2]), max_queued=9, key=None)
    job_ids = [job.id for job in SweepStore(store.database).jobs(row.id)]
    for job_id in job_ids:
        start(job_id)
    single_run = start()
    sync()
    assert [get_run(job_id).data.tags["mynet.sweep"] for job_id in job_ids] == [row.id] * 2
    assert "mynet.sweep" not in get_run(single_run.job.id).data.tags


def test_a_job_of_several_attempts_is_one_run_without_doubled_points(
    start, store, monkeypatch, sync
):
    interrupted_run = start()
    with monkeypatch.context() as patch:
        interrupt_after(patch, "reset_failures", 1)
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    sync()
    run = get_run(interrupted_run.job.id)
    assert (run.info.status, points(run, "train_loss")) == (
        "RUNNING",
        epoch_points(store.job(interrupted_run.job.id), "train_loss"),
    )
    jobs.requeue(store, store.job(interrupted_run.job.id))
    sync()
    start(interrupted_run.job.id).run()
    sync()
    run, job = get_run(interrupted_run.job.id), store.job(interrupted_run.job.id)
    assert (run.info.status, run.data.tags["mynet.attempt"]) == ("FINISHED", "2")
    for name in PER_EPOCH:
        assert points(run, name) == epoch_points(job, name)


def test_a_process_that_died_while_it_told_left_no_doubles(start, store, sync):
    attempt = start()
    store.change_job(attempt.job.id, values={"epochs": [epoch(0), epoch(1)]})
    sync()
    run = get_run(attempt.job.id)
    MlflowClient().log_batch(run.info.run_id, metrics=[Metric("test_loss", 9.0, 1, 2)])
    store.change_job(attempt.job.id, values={"epochs": [epoch(0), epoch(1), epoch(2)]})
    sync()
    assert points(run, "test_loss") == [(0, 0.5), (1, 0.5), (2, 9.0)]
    assert points(run, "train_loss") == [(0, 0.25), (1, 0.25), (2, 0.25)]


def epoch(number):
    return {
        "epoch": number, "train_loss": 0.25, "test_loss": 0.5, "test_accuracy": 0.75, "seconds": 1.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda store, job: jobs.fail(store, job.id, 1, "diverged", "the loss is inf"), "FAILED"),
        (lambda store, job: jobs.cancel(store, job.id), "KILLED"),
        (lambda store, job: jobs.pause(store, job.id), "RUNNING"),
    ],
)
def test_a_run_ends_as_its_job_does(start, store, sync, end, status):
    attempt = start()
    sync()
    assert get_run(attempt.job.id).info.status == "RUNNING"
    end(store, attempt.job)
    sync()
    run = get_run(attempt.job.id)
    assert run.info.status == status
    assert run.data.tags.get("mynet.error") == ("the loss is inf" if status == "FAILED" else None)


def test_a_job_that_waits_is_told_when_it_starts(settings, store, start):
    attempt = start()
    jobs.requeue(store, store.job(attempt.job.id))
    queued_job = jobs.create(store, attempt.attempt.hyperparameters, max_queued=9, key=None)
    tracking = MlflowSync(settings, store.database)
    tracking.sync()
    client = MlflowClient()
    experiment = client.get_experiment_by_name("mynet").experiment_id
    assert len(client.search_runs([experiment])) == 1, "it has not begun"
    jobs.start(store, queued_job)
    tracking.sync()
    assert get_run(queued_job.id).info.status == "RUNNING"


def test_what_could_not_be_told_is_told_later_and_complained_of_once(
    settings, store, start, folder, caplog
):
    folder.write_text("in the way")
    tracking = MlflowSync(settings, store.database)
    attempt = start()
    for _ in range(3):
        tracking.sync()
    assert caplog.text.count("MLflow is unavailable") == 1
    attempt.run()
    assert store.job(attempt.job.id).status == "succeeded"
    folder.unlink()
    tracking.sync()
    run = get_run(attempt.job.id)
    assert (run.info.status, len(points(run, "seconds"))) == ("FINISHED", 3)


def test_one_job_that_cannot_be_told_holds_up_no_other(settings, store, start, caplog):
    first, second = start(), start()
    store.change_job(first.job.id, values={"epochs": [{"epoch": "spoilt"}]})
    tracking = MlflowSync(settings, store.database)
    for _ in range(3):
        tracking.sync()
    assert caplog.text.count(f"{first.job.id} could not be logged to MLflow") == 1
    assert get_run(second.job.id).info.status == "RUNNING"


def test_an_outage_is_logged_once_for_all_jobs(settings, store, start, monkeypatch, caplog):
    job_ids = [start().job.id for _ in range(3)]
    tracking = MlflowSync(settings, store.database)
    tracking.sync()
    for job_id in job_ids:
        jobs.cancel(store, job_id)

    def refuse(*_):
        raise OSError("The server is away.")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_runs", refuse)
        for _ in range(3):
            tracking.sync()
    assert caplog.text.count("could not be logged to MLflow") == 1
    tracking.sync()
    assert {get_run(job_id).info.status for job_id in job_ids} == {"KILLED"}


def test_a_job_cancelled_in_the_queue_is_a_killed_run(settings, store, sync):
    queued = jobs.create(store, Hyperparameters(), max_queued=9, key=None)
    tracking = MlflowSync(settings, store.database)
    tracking.sync()
    jobs.cancel(store, queued.id)
    tracking.sync()
    run = get_run(queued.id)
    assert (run.info.status, run.data.tags["mynet.attempt"]) == ("KILLED", "0")
    assert run.info.start_time == int(queued.created_at.timestamp() * 1000)
    sync()
    assert get_run(queued.id).info.run_id == run.info.run_id


def test_a_job_with_the_number_of_a_deleted_one_is_logged(settings, store, start):
    deleted = start()
    tracking = MlflowSync(settings, store.database)
    tracking.sync()
    jobs.cancel(store, deleted.job.id)
    tracking.sync()
    store.delete_jobs([deleted.job.id])
    latest = start()
    assert store.job(latest.job.id).number == deleted.job.number
    tracking.sync()
    assert get_run(deleted.job.id).info.status == "KILLED"
    assert get_run(latest.job.id).info.status == "RUNNING"


def test_a_run_ends_if_its_artifacts_cannot_be_stored(
    settings, store, start, monkeypatch, caplog, registry
):
    runs = [start(promote="never"), start(promote="never")]
    tracking = MlflowSync(settings, store.database)
    for run in runs:
        run.run()

    def refuse(*_):
        raise PermissionError("Read-only file system: /mlruns")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", refuse)
        for _ in range(3):
            tracking.sync()
    for run in runs:
        logged = get_run(run.job.id)
        assert logged.info.status == "FINISHED"
        assert logged.data.tags["mynet.artifacts"] == (
            "could not be stored: Read-only file system: /mlruns"
        )
    assert caplog.text.count("could not be stored in MLflow") == 1
    MlflowSync(settings, store.database).sync()  # another process goes on
    for run in runs:
        logged = get_run(run.job.id)
        assert "mynet.artifacts" not in logged.data.tags
        names = [file.path for file in MlflowClient().list_artifacts(logged.info.run_id)]
        version = store.job(run.job.id).result["version"]
        assert sorted(names) == sorted(["card.json", registry.path(version).name])


@pytest.mark.parametrize(
    ("uri", "is_below_state_folder"),
    [
        ("sqlite:///mlflow.db", True),
        ("postgresql+psycopg://host/mlflow", True),
        ("http://127.0.0.1:5000", False),
        ("file:///tmp/runs", False),
        ("databricks", False),
    ],
)
def test_artifacts_beside_a_database_go_to_the_state_folder(
    monkeypatch, tmp_path, uri, is_below_state_folder
):
    created = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(run_logger, "MlflowClient", lambda: FakeClient(uri, created))
    run_logger.Runs("mynet", tmp_path / "a folder")
    location = (tmp_path / "a folder").as_uri() if is_below_state_folder else None
    assert created == [("mynet", location)]


class FakeClient:
    """A client without an experiment; it records which ones are created."""

    def __init__(self, uri, created):
        self.tracking_uri, self.created = uri, created

    def get_experiment_by_name(self, _):
        return None

    def create_experiment(self, *arguments):
        self.created.append(arguments)


def test_a_run_that_somebody_deleted_does_not_come_back(start, sync):
    attempt = start()
    sync()
    run = get_run(attempt.job.id)
    MlflowClient().delete_run(run.info.run_id)
    sync()
    experiment = MlflowClient().get_experiment_by_name("mynet").experiment_id
    assert MlflowClient().search_runs([experiment]) == []


def test_the_experiment_can_be_named(start, sync, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "digits")
    start()
    sync()
    assert MlflowClient().get_experiment_by_name("mynet") is None
    assert MlflowClient().get_experiment_by_name("digits")


def test_a_version_that_had_to_give_way_leaves_its_job_to_be_told(start, store, registry, sync):
    attempt = start(promote="never")
    attempt.run()
    registry.path(store.job(attempt.job.id).result["version"]).unlink()
    sync()
    run = get_run(attempt.job.id)
    assert (run.info.status, len(points(run, "test_loss"))) == ("FINISHED", 3)
    assert MlflowClient().list_artifacts(run.info.run_id) == []
