"""Child processes of the server: low priority, and ended together with it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TextIO, cast

NICENESS: Final = 10
# Seconds that a process may take to exit, and seconds to wait for that.
GRACE_SECONDS: Final = 2.0
EXIT_TIMEOUT: Final = 5.0
# Seconds to wait for a killed process. Longer ones wait for a disk that does not answer.
KILL_TIMEOUT: Final = 2.0
log = logging.getLogger(__name__)


def popen_kwargs(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the arguments for `subprocess` and `asyncio.subprocess`.

    OpenMP threads that spin while they wait would take the core that predictions need. A process
    group of its own keeps the terminal's Ctrl-C away. A session of its own would do so too, but the
    kernel gives each session an equal share of the cores, whatever its niceness (sched(7),
    autogroup).
    """
    return {"env": {**environment, "OMP_WAIT_POLICY": "PASSIVE"}, "process_group": 0}


def lower_priority(pid: int) -> None:
    """Raise the niceness of a process as soon as it starts: its imports take cores too."""
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, os.nice(0) + NICENESS)


def start(
    module: str,
    line: str,
    *,
    stdout: int | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    """Start a module as a process, and send it one line. Its pipe stays open until `end`.

    Raises OSError if that fails. `stdout` is that of `Popen`. Variables of `environment` count
    where this process sets none.
    """
    process = spawn(module, stdout=stdout, environment=environment)
    send(process, line)
    return process


def spawn(
    module: str,
    *,
    stdout: int | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    """Start a module as a process that waits for its line."""
    arguments = popen_kwargs()
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=stdout,
        text=True,
        **arguments | {"env": {**environment, **arguments["env"]}},
    )
    lower_priority(process.pid)
    return process


def send(process: subprocess.Popen[str], line: str) -> None:
    """Send a process its line. Raises BrokenPipeError if it died first; it is reaped then."""
    try:
        _pipe(process).write(line + "\n")
        _pipe(process).flush()
    except BrokenPipeError:
        end(process)
        raise


def end(*processes: subprocess.Popen[str]) -> list[int | None]:
    """End processes that `start` started, gracefully if possible; return their exit codes.

    The code is None for a process that the kernel cannot end yet, because it waits for a disk.
    """
    for process in processes:
        with suppress(BrokenPipeError):  # a line that it did not take is still in the buffer
            _pipe(process).close()
    deadline = time.monotonic() + EXIT_TIMEOUT
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    return [_exit_code(process) for process in processes]


def _exit_code(process: subprocess.Popen[str]) -> int | None:
    if process.stdout:
        process.stdout.close()
    try:
        return process.wait(KILL_TIMEOUT)
    except subprocess.TimeoutExpired:
        log.error("killed process does not exit, probably waits for a disk: pid=%d", process.pid)
        # It must not be collected while it runs, and must be reaped when it exits.
        threading.Thread(target=process.wait, name=f"exit of {process.pid}", daemon=True).start()
        return None


def exit_gracefully_with_parent(stop: threading.Event, grace: float = GRACE_SECONDS) -> None:
    """End this process when its pipe closes: set `stop`, and exit `grace` seconds later."""
    on_parent_exit(partial(_end, stop, grace))
    for number in (signal.SIGTERM, signal.SIGINT):
        # Sent to the whole group when the service stops; the parent ends this process by its pipe.
        signal.signal(number, signal.SIG_IGN)


def on_parent_exit(end: Callable[[], None]) -> None:
    """Call `end` in a thread when the parent is gone, or ends this process.

    Standard input is a pipe that closes in both cases. It is not read through `sys.stdin`: the
    thread would hold its lock when the interpreter exits.
    """

    def wait() -> None:
        os.read(0, 1)
        end()

    threading.Thread(target=wait, name="pipe", daemon=True).start()


def _end(stop: threading.Event, grace: float) -> None:
    stop.set()
    time.sleep(grace)
    os._exit(0)


def _pipe(process: subprocess.Popen[str]) -> TextIO:
    return cast(TextIO, process.stdin)
