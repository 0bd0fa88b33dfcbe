"""The app in this process, on a state folder, without background tasks and without a supervisor.

So each call below the state folder belongs to the request that is tried.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.api.dependencies import Services
from app.api.problem_details import MEDIA_TYPE
from app.config.settings import Settings
from app.main import create_app
from app.mnist.dataset import RAW
from app.sandbox import environment
from app.startup import prepare_service
from tests.conftest import settings_in, write_idx
from tests.rigs.io_errors.trial import Refusal
from tests.webhooks.receiver import SECRET

ADMIN_KEY: Final = "an-admin-key-for-the-rig"
TRAIN_IMAGES: Final = 200
TEST_IMAGES: Final = 100


class Service:
    """The app as a client sees it, and its services."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        client.headers["Authorization"] = f"Bearer {ADMIN_KEY}"

    @property
    def services(self) -> Services:
        services: Services = self._client.app_state["services"]
        return services

    def send(self, method: str, path: str, **options: Any) -> Any:
        """Send a request, and return the body of its answer. Raises Refusal, ValueError."""
        answer = self._client.request(method, path, **options)
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _refusal(answer)


def _refusal(answer: Any) -> Exception:
    if answer.headers["content-type"] != MEDIA_TYPE:
        return ValueError(f"{answer.status_code}: no problem details: {answer.text:.200}")
    problem = answer.json()
    return Refusal(answer.status_code, problem["code"], problem["detail"])


@contextmanager
def running(settings: Settings) -> Iterator[Service]:
    """Run the app; its child processes are tried, too."""
    variables = {name for name in os.environ if name.startswith(("FAIL_IO_", "LD_PRELOAD"))}
    allowed = environment.ALLOWED | variables
    with (
        mock.patch("app.main._background_tasks", lambda _: ()),
        mock.patch("app.main._supervisor", lambda *_: None),
        mock.patch.object(environment, "ALLOWED", allowed),
    ):
        prepare_service(settings)
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            yield Service(client)


def rig_settings(folder: Path, data: Path) -> Settings:
    """Return the settings of a service that keeps its state below `folder`."""
    changes = {
        "data_dir": data,
        "auth": "keys",
        "admin_key": SecretStr(ADMIN_KEY),
        "train_queue": 10**6,
        "decoders": 1,
        "train_threads": 1,
        "keep_versions": 3,  # so that each try has as many calls
        "webhook_secret": SecretStr(SECRET),
        "webhook_allow": "127.0.0.1",
        "log_level": "error",
    }
    return settings_in(folder).model_copy(update=changes)


def make_data(folder: Path) -> Path:
    """Write few images as MNIST, and return the folder."""
    raw = folder / RAW
    raw.mkdir(parents=True)
    for name, images in (("train", TRAIN_IMAGES), ("t10k", TEST_IMAGES)):
        pixels, labels = drawn_digits(images)
        write_idx(raw / f"{name}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{name}-labels-idx1-ubyte", labels)
    return folder


def drawn_digits(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 28, 28) images, with a bar for each digit at another place, and their labels."""
    labels = np.arange(images, dtype=np.uint8) % 10
    pixels = np.zeros((images, 28, 28), np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[4:24, 3 + 2 * label : 6 + 2 * label] = 255
    return pixels, labels


def archive_of(images: int, first: int) -> bytes:
    """Return an `.npz` file of images; `first` is a pixel value that makes it another one."""
    pixels, labels = drawn_digits(images)
    pixels[0].view(np.uint32)[0, 0] = first
    buffer = BytesIO()
    np.savez(buffer, images=pixels, labels=labels)
    return buffer.getvalue()
