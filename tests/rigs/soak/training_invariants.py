"""Invariants of data sets, checkpoints, webhooks and sweeps in the soak test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from app.datasets import content
from app.train.jobs.checkpoints import Checkpoints
from tests.rigs.soak.invariants import ask
from tests.service.running import Service, wait_until
from tests.webhooks.receiver import Server

BUILT_IN: Final = {"mnist", "mnist-test", "corrections"}
DELIVERY_TIMEOUT: Final = 300.0


class TrainingInvariants:
    """What the service answered about data sets, checkpoints and webhooks."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.checkpoints = Checkpoints(state / "checkpoints", 1000)
        self.datasets: dict[str, dict[str, Any]] = {}
        self.checkpoint_jobs: list[str] = []
        self.events: dict[str, list[str]] = {}

    def check_datasets(self) -> None:
        """Check that a data set whose upload was answered is on disk, complete."""
        for dataset in self.datasets.values():
            images = content.read(self._file(dataset["id"]), dataset["digest"])
            assert content.counts(images.labels) == dataset["labels"], dataset

    def check_listed_datasets(self, service: Service) -> None:
        """Check that the data sets that are listed are those on disk, all complete."""
        listed = ask(service, "GET", "/datasets?limit=1000").json()["data"]
        uploaded = {entry["name"]: entry for entry in listed if entry["name"] not in BUILT_IN}
        assert uploaded.keys() >= self.datasets.keys(), f"lost: {self.datasets.keys()}"
        for entry in uploaded.values():
            content.read(self._file(entry["id"]), entry["digest"])
        stored = {path.stem for path in (self.state / "datasets").glob(f"[!.]*{content.SUFFIX}")}
        assert stored == {entry["id"] for entry in uploaded.values()}, (stored, uploaded)

    def check_checkpoints(self, service: Service, job: str, body: Mapping[str, Any]) -> None:
        """Check that a job lists checkpoints that are stored, and all of them if it succeeded."""
        epochs = self._listed_epochs(service, job)
        stored = self.checkpoints.sizes(job)
        assert stored.keys() >= {*epochs}, (job, epochs, stored)
        for epoch in epochs:
            assert self.checkpoints.read(job, epoch)[1].job == job
        if body["status"] == "succeeded":
            recorded = [epoch["epoch"] for epoch in body["epochs"]]
            assert epochs == (recorded if job in self.checkpoint_jobs else []), (job, epochs)

    def check_stored_checkpoints(self, service: Service, jobs: Sequence[str]) -> None:
        """Check that all checkpoints that are stored are listed, once no process trains."""
        for job in jobs:
            epochs = self._listed_epochs(service, job)
            same = wait_until(
                lambda job=job, epochs=epochs: [*self.checkpoints.sizes(job)] == epochs
            )
            assert same, (job, epochs, self.checkpoints.sizes(job))

    def _listed_epochs(self, service: Service, job: str) -> list[int]:
        listed = ask(service, "GET", f"/train/{job}/checkpoints").json()["data"]
        return [entry["epoch"] for entry in listed]

    def check_deliveries(self, receiver: Server, jobs: Mapping[str, Mapping[str, Any]]) -> None:
        """Wait until the messages of all jobs have arrived."""
        expected = {
            (job, f"job.{event}")
            for job, events in self.events.items()
            for event in _events(jobs[job])
            if event in events
        }

        def missing() -> set[tuple[str, str]]:
            arrived = {(message["data"]["id"], message["type"]) for _, message in receiver.received}
            return expected - arrived

        assert wait_until(lambda: not missing(), DELIVERY_TIMEOUT), f"missing: {missing()}"
        ids = {message_id for message_id, _ in receiver.received}
        assert len(ids) == len(expected), "a message came with two ids, or one that was not wanted"

    def _file(self, dataset_id: str) -> Path:
        return self.state / "datasets" / f"{dataset_id}{content.SUFFIX}"


def check_sweep(service: Service, sweep: str) -> None:
    """Check that a sweep whose jobs have ended has ended, and names its best job."""
    path = f"/sweeps/{sweep}"
    assert wait_until(lambda: service.get(path)["finished_at"] is not None), service.get(path)
    body = service.get(path)
    has_version = any(job["version"] for job in body["jobs"])
    assert (body["best"] is not None) == has_version, body


def _events(body: Mapping[str, Any]) -> list[str]:
    is_promoted = bool(body["result"] and body["result"]["promoted"])
    return [body["status"], *(["promoted"] if is_promoted else [])]
