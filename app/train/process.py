"""Processes beside the server: the last in line for its cores, and ended when it is gone.

What enters: a process, or what it does at its end. What leaves: what to start one with. This module
does not know what a process does.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

NICENESS: Final = 10


def beside_the_server() -> dict[str, Any]:
    """Give the arguments for `subprocess` and `asyncio.subprocess`.

    Threads that wait by spinning would take the core that predictions need. A process group of its
    own keeps a terminal's Ctrl-C away; a session of its own would do so, too, but the kernel gives
    each session an equal share of the cores, however nice its processes are (sched(7), autogroup).
    """
    return {"env": {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}, "process_group": 0}


def give_way(pid: int) -> None:
    """Make a process nicer as soon as it has begun, since its imports take cores, too."""
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, os.nice(0) + NICENESS)


def when_left_alone(end: Callable[[], None]) -> None:
    """Call `end`, in a thread, when whoever started this process is gone, or wants it to end.

    Standard input is a pipe that closes then, in whatever way that comes about. It is not read
    through `sys.stdin`, whose lock the thread would hold when the interpreter ends.
    """

    def wait() -> None:
        os.read(0, 1)
        end()

    threading.Thread(target=wait, name="pipe", daemon=True).start()
