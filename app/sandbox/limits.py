"""Resource limits (setrlimit) and privileges (prctl) of the calling process.

A limit that the system does not support is skipped.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # prctl(2)
PR_SET_NO_NEW_PRIVS: Final = 38
STATUS: Final = Path("/proc/self/status")
OOM_SCORE: Final = Path("/proc/self/oom_score_adj")


def set_limit(name: str, soft: int, hard: int | None = None) -> None:
    """Set a limit by its name in `resource`; by default, the hard limit stays as it is."""
    number = getattr(resource, name, None)
    if number is None:
        return
    _, highest = resource.getrlimit(number)
    hard = highest if hard is None else hard
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    with suppress(ValueError, OSError):
        resource.setrlimit(number, (soft, hard))


def data_bytes() -> int | None:
    """Return the bytes that RLIMIT_DATA counts, or None if the system does not report them."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None


def forbid_new_privileges() -> None:
    """Make the programs that this process starts ignore setuid bits, on Linux, permanently."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when the thread that forked it ends, on Linux.

    `parent` is its process id. Raises ProcessLookupError if it has ended already: then the kernel
    sends no signal any more.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(f"the process {parent}, which forked this one, has ended")


def prefer_as_oom_victim() -> None:
    """Make the system's out-of-memory killer pick this process before the server."""
    with suppress(OSError):
        OOM_SCORE.write_text("1000")


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        arguments = (ctypes.c_ulong(number) for number in (value, 0, 0, 0))
        ctypes.CDLL(None).prctl(option, *arguments)
