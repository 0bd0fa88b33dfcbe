"""Jobs on a service that is killed again and again.

The random generator draws victims and moments. The result is where each kill hit, and the outcome
of each job.
"""

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA
from tests.datasets.uploads import npz
from tests.rigs.kills.job_monitor import FINAL_STATUSES, JOB_TIMEOUT, Hit, Outcome, Witness
from tests.rigs.load.uploads import CONTENT_TYPE, dataset_form
from tests.rigs.soak.invariants import ask
from tests.service.running import Service, run_service

KINDS: Final = (
    {"epochs": 2, "seed": 1, "promote": "always"},
    {"epochs": 8, "seed": 2, "promote": "never"},
    {"epochs": 3, "seed": 3, "promote": "always"},
    {"epochs": 1, "seed": 4, "promote": "if_better"},
    {
        "epochs": 4,
        "seed": 5,
        "learning_rate": 0.2,
        "validation_fraction": 0.1,
        "early_stopping": {"patience": 1},
        "keep_checkpoints": True,
        "promote": "never",
    },
    {"epochs": 2, "seed": 6, "init": {"version": 1}, "promote": "never"},
    {
        "epochs": 2,
        "seed": 7,
        "datasets": ["mnist", "own"],
        "test_dataset": "own-test",
        "validation_fraction": 0.1,
        "keep_checkpoints": True,
        "promote": "never",
    },
    {"recipe": "quick", "seed": 8, "max_seconds": 36_000, "promote": "never"},
)
# The data sets of the jobs: names, and which of MNIST's test images.
DATASETS: Final = {"own": slice(0, 2000), "own-test": slice(2000, 3000)}
VICTIMS: Final = ("training process", "server", "both")
# After what to kill, and how many seconds later at most: an attempt has begun, a state has been
# saved, the last batch has been told of, the version has been stored.
MOMENTS: Final = {"begun": 10.0, "saved": 1.5, "trained": 0.5, "stored": 0.02}
POLL_INTERVAL: Final = 0.25


class Soak:
    """Jobs on one state folder, and a service that dies again and again."""

    def __init__(self, state: Path, rng: random.Random) -> None:
        self.state, self.rng = state, rng
        self.witness = Witness(state)
        self.jobs: dict[str, int] = {}
        self.hits: list[tuple[str, str, Hit]] = []
        self.trainings: set[int] = set()

    def run(self, kills: int) -> list[Outcome]:
        """Kill so many times, then let all jobs end."""
        with run_service(self.state) as service:
            upload_datasets(service)
        while len(self.hits) < kills:
            with run_service(self.state, keep_versions=1000) as service:
                while len(self.hits) < kills and service.process.poll() is None:
                    self.kill_once(service)
                    self.trainings.update(service.trainings)
        with run_service(self.state, keep_versions=1000) as service:
            outcomes = [self.witness.outcome(service, job) for job in self.jobs]
            self.trainings.update(service.trainings)
            service.end()
        return outcomes

    def kill_once(self, service: Service) -> None:
        """Kill at a drawn moment, if it comes and the victim still lives."""
        victim, moment = self.rng.choice(VICTIMS), self.rng.choice(list(MOMENTS))
        job = self.next_job(service)
        if not self.wait_for_moment(moment, service, job):
            return
        self.watch_job(service, job, self.rng.uniform(0, MOMENTS[moment]))
        with suppress(ProcessLookupError):
            if victim != "server":
                os.kill(service.trainings[-1], signal.SIGKILL)
            if victim != "training process":
                service.end(signal.SIGKILL)
            self.hits.append((victim, job, self.witness.hit(job)))

    def next_job(self, service: Service) -> str:
        """Return the job that runs or will run next; another one always waits behind it."""
        status = {job: service.get(f"/train/{job}")["status"] for job in self.jobs}
        # One that waits out its back-off is overtaken by the one behind it.
        open_jobs = [job for job in self.jobs if status[job] == "running"]
        open_jobs += [job for job in self.jobs if status[job] == "queued"]
        while len(open_jobs) < 2:
            kind = len(self.jobs) % len(KINDS)
            job = service.post("/train", json.dumps(KINDS[kind]).encode())["id"]
            self.jobs[job] = kind
            open_jobs.append(job)
        return open_jobs[0]

    def wait_for_moment(self, moment: str, service: Service, job: str) -> bool:
        """Wait for a moment in the job; return False if the job ended before it."""
        previous = moment != "begun" and self.mark(moment, service, job)
        deadline = time.monotonic() + JOB_TIMEOUT
        while time.monotonic() < deadline:
            if self.mark(moment, service, job) != previous:
                return True
            if has_ended(service, job):
                return False
            time.sleep(0.002)
        raise AssertionError(f"{job} does not go on")

    def mark(self, moment: str, service: Service, job: str) -> float:
        """Return what changes when a moment comes."""
        if moment == "stored":
            return sum(1 for _ in (self.state / "models").glob("*.safetensors"))
        if moment == "saved":
            with suppress(FileNotFoundError):
                return (self.state / "jobs" / f"{job}.pt").stat().st_mtime
            return 0
        body = self.witness.observe(service, job)
        if moment == "begun":
            return bool(body["status"] == "running")
        return bool(body["progress"] and body["progress"]["fraction"] == 1)

    def watch_job(self, service: Service, job: str, seconds: float) -> None:
        """Request the job at times, so that the monitor knows what it showed before the kill."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            if remaining > 2 * POLL_INTERVAL:
                self.witness.observe(service, job)
            time.sleep(min(remaining, POLL_INTERVAL))


def has_ended(service: Service, job: str) -> bool:
    return service.get(f"/train/{job}")["status"] in FINAL_STATUSES


def upload_datasets(service: Service) -> None:
    """Upload the data sets that jobs name."""
    test = load_mnist(DATA).test
    for name, part in DATASETS.items():
        pixels, labels = test.pixels[part].numpy(), test.labels[part].numpy()
        body = dataset_form(name, npz(images=pixels, labels=labels))
        response = ask(service, "POST", "/datasets", body, {"Content-Type": CONTENT_TYPE.decode()})
        assert response.status == 201, response


def run_uninterrupted(state: Path) -> list[Outcome]:
    """Run each kind of job without a kill."""
    witness = Witness(state)
    with run_service(state) as service:
        upload_datasets(service)
        jobs = [service.post("/train", json.dumps(kind).encode())["id"] for kind in KINDS]
        outcomes = [witness.outcome(service, job) for job in jobs]
        service.end()
    return outcomes
