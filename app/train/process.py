"""How processes beside the server are started: they are the last in line for its cores.

What enters: a process, or nothing. What leaves: what to start one with. This module does not know
what a process does.
"""

import os
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
