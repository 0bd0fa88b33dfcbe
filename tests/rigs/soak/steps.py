"""Steps of the soak test: requests and faults, one method for each kind.

Each step compares the answers with what the service may answer.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Final

from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA, png
from tests.rigs.load.prediction_calls import ways
from tests.rigs.load.uploads import CONTENT_TYPE, NO_IMAGE, form_body
from tests.rigs.soak.invariants import TIMEOUT, Invariants, ask
from tests.service.running import Service, wait_until

IMAGES: Final = 40
VERSIONS: Final = 12
# What may be answered to what asks for a change.
CHANGE_STATUSES: Final = (200, 202, 204, 404, 409)


class Steps:
    """The steps on one state folder, whichever service runs on it."""

    def __init__(self, state: Path, rng: random.Random) -> None:
        self.state, self.rng = state, rng
        pixels = load_mnist(DATA).test.pixels[:IMAGES].numpy()
        self.images = [png(image) for image in pixels]
        self.invariants = Invariants(state, pixels)
        self.jobs: list[str] = []
        self.counts: Counter[str] = Counter()

    def predict(self, service: Service) -> None:
        """Predict one image in one of many ways."""
        image = self.rng.randrange(IMAGES)
        requested_version = self.rng.choice(self.invariants.stored_versions)
        way = self.rng.choice(ways(self.images[image], requested_version))
        response = ask(service, "POST", way.path, way.body, way.headers)
        assert response.status == 200, f"{way.path}: {response}"
        version, probabilities = way.read(response.json())
        assert version == requested_version or not way.names_version, f"{way.path}: {response}"
        self.invariants.check_prediction(image, version, probabilities)

    def batch(self, service: Service) -> None:
        """Predict many images, one of them bad: one version answers all good ones."""
        chosen = [self.rng.randrange(IMAGES) for _ in range(self.rng.randint(1, 20))]
        uploads = [self.images[image] for image in chosen]
        bad = self.rng.randrange(len(uploads) + 1)
        uploads.insert(bad, NO_IMAGE)
        form_headers = {"Content-Type": CONTENT_TYPE.decode()}
        body = form_body("files", uploads)
        answer = ask(service, "POST", "/predict/batch", body, form_headers).json()
        assert answer["predictions"].pop(bad)["error"]["status"] == 415, answer
        for image, prediction in zip(chosen, answer["predictions"], strict=True):
            assert prediction["version"] == answer["version"]
            self.invariants.check_prediction(
                image, prediction["version"], prediction["probabilities"]
            )

    def spoil(self, service: Service) -> None:
        """Send what cannot be answered."""
        image = self.rng.choice(self.images)
        path, body, statuses = self.rng.choice((
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
        response = ask(service, "POST", path, body)
        assert response.status in statuses, f"{path}: {response}"

    def change_job(self, service: Service) -> None:
        """Pause, resume or cancel a job, whether or not that can be."""
        if self.jobs:
            action = self.rng.choice(("pause", "pause", "resume", "resume", "cancel"))
            response = ask(service, "POST", f"/train/{self.rng.choice(self.jobs[-4:])}/{action}")
            assert response.status in CHANGE_STATUSES, response

    def swap(self, service: Service) -> None:
        """Go live with another version, or back."""
        if self.rng.random() < 0.3:
            response = ask(service, "POST", "/models/rollback")
        else:
            body = json.dumps(
                {"version": self.rng.choice(self.invariants.stored_versions)}
            ).encode()
            response = ask(service, "PUT", "/models/current", body)
            assert response.status == 200, response
        assert response.status in CHANGE_STATUSES, response

    def upload(self, service: Service) -> None:
        """Make a version of weights, whole or spoilt."""
        if len(self.invariants.stored_versions) >= VERSIONS:
            return self.remove(service)
        content = self.weights(service)
        is_valid = self.rng.random() < 0.7
        response = ask(service, "POST", "/models", content if is_valid else content[:-1000])
        assert response.status == (201 if is_valid else 400), response
        return None

    def remove(self, service: Service) -> None:
        """Remove a version, unless it is live."""
        version = self.rng.choice(self.invariants.stored_versions)
        response = ask(service, "DELETE", f"/models/{version}")
        assert response.status in CHANGE_STATUSES, response
        if response.status == 204:
            self.invariants.removed.add(version)

    def pause(self, _service: Service) -> None:
        time.sleep(self.rng.uniform(0, 2))

    def kill_training(self, service: Service) -> None:
        """Kill the training process, if there is one."""
        if service.trainings:
            with suppress(ProcessLookupError):
                os.kill(service.trainings[-1], signal.SIGKILL)

    def kill_worker(self, service: Service) -> None:
        """Kill a worker, an upload under way; the other one serves, and soon a successor."""
        with self.uploading(service):
            victims = service.workers
            os.kill(self.rng.choice(victims), signal.SIGKILL)
        assert wait_until(lambda: len(service.workers) == len(victims), TIMEOUT)

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
        self.invariants.check_processes_ended(service)
        self.invariants.check_versions()
        self.invariants.check_database()

    def weights(self, service: Service) -> bytes:
        """Return a version's weights, as a file of one of the two forms that may be uploaded."""
        version, form = (
            self.rng.choice(self.invariants.stored_versions),
            self.rng.choice(("safetensors", "pt")),
        )
        response = ask(service, "GET", f"/models/{version}/weights?format={form}")
        assert response.status == 200, response
        return response.content

    def drawn_upload(self, service: Service) -> Callable[[], object]:
        """Return a function that uploads something."""
        return partial(ask, service, "POST", "/models", self.weights(service))

    @contextmanager
    def uploading(self, service: Service) -> Iterator[None]:
        """Run an upload while the context lasts; it becomes a version, or leaves nothing."""

        def upload() -> None:
            with suppress(OSError, HTTPException):  # the service is killed during the upload
                send()

        send = self.drawn_upload(service)
        thread = threading.Thread(target=upload)
        thread.start()
        time.sleep(self.rng.uniform(0, 5))
        yield
        thread.join()
