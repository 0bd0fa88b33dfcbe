"""Requests a second and their latencies, by wrk if it is installed, else by `closed_loop`.

wrk does not compare answers, so `closed_loop` sends load first and compares every answer.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.rigs.load.closed_loop import Pressed, Request, press

WRK: Final = shutil.which("wrk")
SCRIPT: Final = Path(__file__).with_name("rotate.lua")
CHECK_SECONDS: Final = 1.0
WRK_TIMEOUT: Final = 10  # wrk leaves out what takes longer


class WrongDigit(Exception):
    """An answer names another digit than the one that is in the image: nothing counts then."""


class Timed(NamedTuple):
    """Good answers a second, milliseconds, and the requests that were not answered with 200."""

    rate: float
    p50: float
    p99: float
    failed: int


def generator() -> str:
    """Describe what sends the requests."""
    if WRK is None:
        return "`tests/rigs/load/closed_loop.py`, which compares every answer"
    completed = subprocess.run([WRK, "--version"], capture_output=True, text=True, check=False)
    version = completed.stdout.split("[")[0].strip()
    return (
        f"`{version}`, after `tests/rigs/load/closed_loop.py` compared every answer for "
        f"{CHECK_SECONDS:.0f} s; wrk's p99 also counts a late answer for the requests that it "
        "delayed"
    )


def time_load(port: int, requests: Sequence[Request], connections: int, seconds: float) -> Timed:
    """Load a service that listens already. Raises WrongDigit."""
    if WRK is None:
        pressed = verify(press(port, requests, connections, seconds))
        latencies = pressed.percentile(50), pressed.percentile(99)
        return Timed(pressed.rate, *latencies, pressed.lost)
    first = verify(press(port, requests, connections, CHECK_SECONDS))
    by_wrk = _by_wrk(WRK, port, requests, connections, seconds)
    return by_wrk._replace(failed=by_wrk.failed + first.lost)


def verify(pressed: Pressed) -> Pressed:
    """Return it back where every answer names the digit of its image. Raises WrongDigit."""
    if pressed.wrong:
        answered = pressed.wrong + len(pressed.latencies)
        raise WrongDigit(f"{pressed.wrong} of {answered} answers")
    return pressed


def _by_wrk(
    wrk: str, port: int, requests: Sequence[Request], connections: int, seconds: float
) -> Timed:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "requests"
        file.write_bytes(
            b"".join(b"%d\n%b" % (len(request.sent), request.sent) for request in requests)
        )
        options = (
            f"-t1 -c{connections} -d{max(1, round(seconds))}s --timeout={WRK_TIMEOUT}s".split()
        )
        completed = subprocess.run(
            [wrk, *options, "-s", SCRIPT, f"http://127.0.0.1:{port}/predict", "--", file],
            capture_output=True,
            text=True,
            check=True,
        )
    line = next(line for line in completed.stdout.splitlines() if line.startswith("counted "))
    answered, microseconds, refused, unsent, p50, p99 = map(int, line.split()[1:])
    rate = 1e6 * (answered - refused) / microseconds
    return Timed(rate, p50 / 1000, p99 / 1000, refused + unsent)
