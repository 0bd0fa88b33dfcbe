"""What is done to a service in the soak: one method for each kind of step.

What enters: a service, and a source of chance. What leaves: what it answered has been compared with
what it may answer. This module does not know in which order steps are taken.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final

from app.train.recipes.dataset import load as load_mnist
from bench.digits import KIND, NO_IMAGE, form_body
from bench.invariants import PATIENCE, Invariants, ask
from bench.ways import ways
from tests.conftest import DATA, png
from tests.service.running import Service, comes_true

IMAGES: Final = 40
OPEN_JOBS: Final = 3
VERSIONS: Final = 12
# What may be answered to what asks for a change.
CHANGED: Final = (200, 202, 204, 404, 409)


class Steps:
    """One state folder, and what is done to whoever serves it."""

    def __init__(self, state: Path, draw: random.Random) -> None:
        self.state, self.draw = state, draw
        pixels = load_mnist(DATA).test.pixels[:IMAGES].numpy()
        self.images = [png(each) for each in pixels]
        self.invariants = Invariants(state, pixels)
        self.jobs: list[str] = []
        self.counts: Counter[str] = Counter()

    def predict(self, service: Service) -> None:
        """Ask for one image, in one of many ways."""
        image = self.draw.randrange(IMAGES)
        named = self.draw.choice(self.invariants.there)
        way = self.draw.choice(ways(self.images[image], named))
        told = ask(service, "POST", way.path, way.body, way.headers)
        assert told.status == 200, f"{way.path}: {told}"
        version, probabilities = way.read(told.json())
        assert version == named or not way.names, f"{way.path}: {told}"
        self.invariants.fits(image, version, probabilities)

    def batch(self, service: Service) -> None:
        """Ask for many, one of them bad: all good ones are answered, by one version."""
        chosen = [self.draw.randrange(IMAGES) for _ in range(self.draw.randint(1, 20))]
        uploads = [self.images[image] for image in chosen]
        bad = self.draw.randrange(len(uploads) + 1)
        uploads.insert(bad, NO_IMAGE)
        as_form = {"Content-Type": KIND.decode()}
        body = form_body("files", uploads)
        answer = ask(service, "POST", "/predict/batch", body, as_form).json()
        assert answer["predictions"].pop(bad)["error"]["status"] == 415, answer
        for image, each in zip(chosen, answer["predictions"], strict=True):
            assert each["version"] == answer["version"]
            self.invariants.fits(image, each["version"], each["probabilities"])

    def spoil(self, service: Service) -> None:
        """Send what cannot be answered."""
        image = self.draw.choice(self.images)
        path, body, statuses = self.draw.choice((
            ("/predict", NO_IMAGE, (415,)),
            ("/predict", image[: len(image) // 2], (415,)),
            ("/predict", b"", (415,)),
            ("/predict?version=999999", image, (404,)),
            ("/predict?explain=maybe", image, (422,)),
            ("/v1/models/mynet:predict", b'{"instances": 1}', (400,)),
            ("/v2/models/mynet/infer", b'{"inputs": []}', (400,)),
            ("/train", b'{"epochs": 0}', (422,)),
            ("/train", b"{", (400,)),
            ("/train/none/cancel", b"", (404,)),
            ("/models", b"no weights", (400, 429)),
        ))  # fmt: skip
        told = ask(service, "POST", path, body)
        assert told.status in statuses, f"{path}: {told}"

    def train(self, service: Service) -> None:
        """Queue a job, unless there are some."""
        if sum(job not in self.invariants.ended for job in self.jobs) >= OPEN_JOBS:
            return
        wanted = {
            "epochs": 1,
            "batch_size": self.draw.choice((100, 500, 1000)),
            "seed": self.draw.randrange(1000),
            "promote": self.draw.choice(("if_better", "always", "never")),
        }
        body, key = json.dumps(wanted).encode(), f"job {self.counts['train']}"
        told = [ask(service, "POST", "/train", body, {"Idempotency-Key": key}) for _ in range(2)]
        assert [each.status for each in told] == [202, 202], told
        assert told[0].json()["id"] == told[1].json()["id"]
        self.jobs.append(told[0].json()["id"])

    def wish(self, service: Service) -> None:
        """Pause, resume or cancel a job, whether or not that can be."""
        if self.jobs:
            wish = self.draw.choice(("pause", "pause", "resume", "resume", "cancel"))
            told = ask(service, "POST", f"/train/{self.draw.choice(self.jobs[-4:])}/{wish}")
            assert told.status in CHANGED, told

    def swap(self, service: Service) -> None:
        """Go live with another version, or back."""
        if self.draw.random() < 0.3:
            told = ask(service, "POST", "/models/rollback")
        else:
            body = json.dumps({"version": self.draw.choice(self.invariants.there)}).encode()
            told = ask(service, "PUT", "/models/current", body)
            assert told.status == 200, told
        assert told.status in CHANGED, told

    def upload(self, service: Service) -> None:
        """Make a version of weights, whole or spoilt."""
        if len(self.invariants.there) >= VERSIONS:
            return self.remove(service)
        content = self.weights(service)
        is_whole = self.draw.random() < 0.7
        told = ask(service, "POST", "/models", content if is_whole else content[:-1000])
        assert told.status == (201 if is_whole else 400), told
        return None

    def remove(self, service: Service) -> None:
        """Remove a version, unless it is live."""
        version = self.draw.choice(self.invariants.there)
        told = ask(service, "DELETE", f"/models/{version}")
        assert told.status in CHANGED, told
        if told.status == 204:
            self.invariants.removed.add(version)

    def pause(self, _service: Service) -> None:
        time.sleep(self.draw.uniform(0, 2))

    def kill_training(self, service: Service) -> None:
        """Kill the training process, if there is one."""
        if service.trainings:
            with suppress(ProcessLookupError):
                os.kill(service.trainings[-1], signal.SIGKILL)

    def kill_worker(self, service: Service) -> None:
        """Kill a worker, an upload under way; the other one serves, and soon a successor."""
        with self.uploading(service):
            victims = self.invariants.workers(service)
            os.kill(self.draw.choice(victims), signal.SIGKILL)
        assert comes_true(lambda: len(self.invariants.workers(service)) == len(victims), PATIENCE)

    def kill_all(self, service: Service) -> None:
        """Kill the parent: its workers and their processes end by themselves."""
        with self.uploading(service):
            self.stop(service, signal.SIGKILL)

    def restart(self, service: Service) -> None:
        """End in order."""
        self.stop(service, signal.SIGTERM)

    def stop(self, service: Service, number: signal.Signals) -> None:
        if service.process.poll() is None:
            service.end(number)
        self.invariants.nobody_is_left(service)
        self.invariants.look_at_versions()
        self.invariants.look_at_database()

    def weights(self, service: Service) -> bytes:
        """Give a version's weights, as a file of one of the two forms that may be uploaded."""
        version, form = (
            self.draw.choice(self.invariants.there),
            self.draw.choice(("safetensors", "pt")),
        )
        told = ask(service, "GET", f"/models/{version}/weights?format={form}")
        assert told.status == 200, told
        return told.content

    @contextmanager
    def uploading(self, service: Service) -> Iterator[None]:
        """Have an upload under way meanwhile; it becomes a version, or nothing."""

        def upload() -> None:
            with suppress(OSError, HTTPException):  # whoever was asked is killed
                ask(service, "POST", "/models", content)

        content = self.weights(service)
        thread = threading.Thread(target=upload)
        thread.start()
        time.sleep(self.draw.uniform(0, 5))
        yield
        thread.join()
