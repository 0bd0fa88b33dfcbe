"""Steps of the soak test that train: jobs, sweeps, data sets, checkpoints and webhooks.

Most jobs train with small data sets, so that many of them end within minutes.
"""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA
from tests.datasets.uploads import idx_zip, npz
from tests.rigs.load.uploads import CONTENT_TYPE, dataset_form
from tests.rigs.soak.invariants import Response, ask
from tests.rigs.soak.steps import CHANGE_STATUSES, Steps
from tests.rigs.soak.training_invariants import TrainingInvariants
from tests.service.running import Service
from tests.webhooks.receiver import Server

OPEN_JOBS: Final = 4
DATASETS: Final = 5
MAX_IMAGES: Final = 1500
FORM: Final = {"Content-Type": CONTENT_TYPE.decode()}
EVENTS: Final = ("succeeded", "cancelled", "promoted")


class TrainingSteps(Steps):
    """The steps that train, and what must hold of their jobs and data sets."""

    def __init__(self, state: Path, rng: random.Random, receiver: Server) -> None:
        super().__init__(state, rng)
        test = load_mnist(DATA).test
        self.digits = test.pixels.numpy(), test.labels.numpy().astype("uint8")
        self.receiver = receiver
        self.training = TrainingInvariants(state)
        self.sweeps: list[str] = []

    def train(self, service: Service) -> None:
        """Queue a job, unless there are some."""
        if self.has_enough_jobs():
            return
        body = json.dumps(self.drawn_job() | self.drawn_webhook()).encode()
        headers = {"Idempotency-Key": f"job {self.counts['train']}"}
        responses = [ask(service, "POST", "/train", body, headers) for _ in range(2)]
        statuses = [response.status for response in responses]
        # A version or data set may be gone; an epoch may be stored after the first request.
        assert statuses in ([202, 202], [422, 422], [422, 202]), responses
        if statuses[0] == 202:
            assert responses[0].json()["id"] == responses[1].json()["id"]
        if statuses[1] == 202:
            self.note_job(responses[1].json()["id"], json.loads(body))

    def sweep(self, service: Service) -> None:
        """Queue a sweep of two jobs, which may train at the same time."""
        if self.has_enough_jobs():
            return
        seeds = self.rng.sample(range(1000), 2)
        body = {"seed": seeds, "epochs": self.rng.randint(1, 2), "datasets": self.drawn_datasets()}
        response = ask(service, "POST", "/sweeps", json.dumps(body).encode())
        assert response.status in (202, 422), response
        if response.status == 202:
            self.sweeps.append(response.json()["id"])
            for job in response.json()["jobs"]:
                self.note_job(job["id"], {})

    def cancel_sweep(self, service: Service) -> None:
        """Cancel a sweep, whether or not that can be."""
        if self.sweeps:
            path = f"/sweeps/{self.rng.choice(self.sweeps)}/cancel"
            response = ask(service, "POST", path)
            assert response.status in CHANGE_STATUSES, response

    def upload_dataset(self, service: Service) -> None:
        """Upload a data set."""
        if len(self.training.datasets) < DATASETS:
            name, send = self.drawn_dataset(service)
            response = send()
            assert response.status == 201, response
            self.training.datasets[name] = response.json()

    def delete_dataset(self, service: Service) -> None:
        """Delete a data set, unless an unfinished job uses it."""
        if self.training.datasets:
            name = self.rng.choice(sorted(self.training.datasets))
            response = ask(service, "DELETE", f"/datasets/{name}")
            assert response.status in (204, 409), response
            if response.status == 204:
                del self.training.datasets[name]

    def store_checkpoint(self, service: Service) -> None:
        """Make a checkpoint a version."""
        if self.jobs:
            path = f"/train/{self.rng.choice(self.jobs)}/checkpoints/{self.rng.randrange(3)}"
            responses = [ask(service, "POST", path) for _ in range(2)]
            statuses = [response.status for response in responses]
            assert statuses in ([201, 200], [200, 200], [404, 404], [404, 201]), responses

    def drawn_upload(self, service: Service) -> Callable[[], object]:
        if self.rng.random() < 0.5:
            return super().drawn_upload(service)
        return self.drawn_dataset(service)[1]

    def drawn_dataset(self, service: Service) -> tuple[str, Callable[[], Response]]:
        """Draw a data set, and return its name and a function that uploads it."""
        first, count = self.rng.randrange(8000), self.rng.randint(100, MAX_IMAGES)
        pixels, labels = (array[first : first + count] for array in self.digits)
        is_npz = self.rng.random() < 0.5
        content = npz(images=pixels, labels=labels) if is_npz else idx_zip(pixels, labels)
        name = f"set-{self.rng.randrange(10**9)}"
        return name, partial(ask, service, "POST", "/datasets", dataset_form(name, content), FORM)

    def drawn_job(self) -> dict[str, Any]:
        """Draw hyperparameters."""
        rng, datasets = self.rng, self.drawn_datasets()
        drawn: dict[str, Any] = {
            "epochs": rng.randint(1, 3),
            "batch_size": rng.choice((100, 500, 1000)),
            "seed": rng.randrange(1000),
            "promote": rng.choice(("if_better", "always", "never")),
            "datasets": datasets,
            "keep_checkpoints": rng.random() < 0.5,
            "include_feedback": rng.random() < 0.2,
        }
        if rng.random() < 0.5:
            drawn |= {"validation_fraction": 0.1}
            drawn |= {"early_stopping": {"patience": 1}} if rng.random() < 0.5 else {}
        others = sorted({*self.training.datasets} - {*datasets})
        if others and rng.random() < 0.3:
            drawn["test_dataset"] = rng.choice(others)
        if rng.random() < 0.3:
            drawn["init"] = self.drawn_init()
        return drawn

    def drawn_datasets(self) -> list[str]:
        names = sorted(self.training.datasets)
        if not names or self.rng.random() < 0.1:
            return ["mnist"]
        return self.rng.sample(names, self.rng.randint(1, min(2, len(names))))

    def drawn_init(self) -> dict[str, Any]:
        if self.training.checkpoint_jobs and self.rng.random() < 0.5:
            job = self.rng.choice(self.training.checkpoint_jobs)
            return {"job": job, "epoch": self.rng.randrange(2)}
        return {"version": self.rng.choice(self.invariants.stored_versions)}

    def drawn_webhook(self) -> dict[str, Any]:
        if self.rng.random() < 0.5:
            return {}
        events = self.rng.sample(EVENTS, self.rng.randint(1, len(EVENTS)))
        return {"webhook": {"url": self.receiver.url, "events": events}}

    def has_enough_jobs(self) -> bool:
        return sum(job not in self.invariants.finished for job in self.jobs) >= OPEN_JOBS

    def note_job(self, job: str, request: dict[str, Any]) -> None:
        self.jobs.append(job)
        if request.get("keep_checkpoints"):
            self.training.checkpoint_jobs.append(job)
        if webhook := request.get("webhook"):
            self.training.events[job] = webhook["events"]
