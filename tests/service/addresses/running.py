"""A whole service that listens as a test says, and its log."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.service.running import DATA, MYNET


@contextmanager
def serving(
    tmp_path: Path,
    *,
    prefix: Sequence[str] = (),
    stdin: int = subprocess.DEVNULL,
    **settings: object,
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Run `mynet serve`, and yield its process and a function that returns its log.

    The process leads a group of its own, so that a test can send a signal to the whole group.
    `prefix` is a command that runs another one, such as `nohup`.
    """
    environment = {f"MYNET_{name.upper()}": str(value) for name, value in settings.items()}
    defaults = {
        "MYNET_STATE_DIR": str(tmp_path / "var"),
        "MYNET_DATA_DIR": str(DATA),
        "MYNET_TRAIN_STANDBY": "false",
    }
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [*prefix, MYNET, "serve"],
            env={**os.environ, **defaults, **environment},
            stdin=stdin,
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process, log.read_text
        finally:
            process.terminate()


def answers(client: httpx2.Client, path: str = "/health/ready") -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx2.TransportError:
        return False
