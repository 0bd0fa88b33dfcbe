"""Caddy in a process of its own, for the test of the configuration in `docs`."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import find_program
from tests.service.running import wait_until

CADDYFILE = re.compile(r"^```caddyfile\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONS = "{\n admin off\n}\n"


def read_caddyfile(page: Path) -> str:
    """Return the only Caddyfile that a page of the documentation shows."""
    (content,) = CADDYFILE.findall(page.read_text())
    return str(content)


@contextmanager
def run_caddy(folder: Path, site: str) -> Iterator[None]:
    """Run Caddy with this Caddyfile, and its files in a new folder."""
    command = find_program("caddy")
    folder.mkdir()
    file, log = folder / "Caddyfile", folder / "log"
    file.write_text(OPTIONS + site)
    with (
        log.open("w") as output,
        subprocess.Popen(
            [command, "run", "--adapter", "caddyfile", "--config", file],
            env={**os.environ, "HOME": str(folder)},
            stderr=output,
        ) as process,
    ):
        try:
            assert wait_until(lambda: "serving initial configuration" in log.read_text())
            yield
        finally:
            process.terminate()
