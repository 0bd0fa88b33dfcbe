"""Where tests keep their files: in memory if there is room, since they sync files often.

A sync of a disk takes 3 ms and more (1,078 of them took 17.8 s on a busy machine). No test needs a
file to outlast the machine. What must be synced, and when, is proven by the calls
(`tests/durability.py`).
"""

import os
import re
from pathlib import Path
from typing import Final

TEMPORARY_ROOT: Final = "PYTEST_DEBUG_TEMPROOT"  # pytest's own variable
IN_MEMORY: Final = Path("/dev/shm")
ROOM: Final = 4 * 2**30


def use_memory() -> None:
    """Make pytest and its child processes keep temporary folders in memory, if all fit in there."""
    if TEMPORARY_ROOT not in os.environ and _has_room():
        os.environ[TEMPORARY_ROOT] = str(IN_MEMORY)


def _has_room() -> bool:
    """Return whether the folder takes large files, and programs: a container's often does not."""
    try:
        folder = os.statvfs(IN_MEMORY)
        (available,) = re.findall(r"^MemAvailable: +(\d+) kB$", _read_memory(), re.MULTILINE)
    except (OSError, ValueError):  # no Linux
        return False
    room = min(folder.f_bavail * folder.f_frsize, int(available) * 1024)
    return room >= ROOM and not folder.f_flag & os.ST_NOEXEC


def _read_memory() -> str:
    return Path("/proc/meminfo").read_text()
