"""Resource limits (setrlimit) and privileges of the process that reads untrusted files.

The limits are relative to what the process has used when they are set: PyTorch alone takes most of
a gigabyte and several seconds. A limit that the system does not support is skipped.
"""

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_MEMORY_BYTES: Final = 1024**3
MAX_CPU_SECONDS: Final = 60
MAX_OPEN_FILES: Final = 64
MAX_FILE_BYTES: Final = 256 * 1024**2
PR_SET_NO_NEW_PRIVS: Final = 38  # prctl(2)
STATUS: Final = Path("/proc/self/status")


def apply_rlimits() -> None:
    """Limit the memory, CPU time, open files and file size of this process, permanently."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _limit("RLIMIT_CPU", int(usage.ru_utime + usage.ru_stime) + MAX_CPU_SECONDS)
    _limit("RLIMIT_NOFILE", MAX_OPEN_FILES)
    _limit("RLIMIT_FSIZE", MAX_FILE_BYTES)
    _limit("RLIMIT_CORE", 0)
    data_bytes = _data_bytes()
    if data_bytes is not None:
        # Not RLIMIT_AS: libraries reserve gigabytes of address space that they never use.
        _limit("RLIMIT_DATA", data_bytes + MAX_MEMORY_BYTES)


def forbid_new_privileges() -> None:
    """Make the programs that this process starts ignore setuid bits, on Linux, permanently."""
    if sys.platform == "linux":
        arguments = (ctypes.c_ulong(value) for value in (1, 0, 0, 0))
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, *arguments)


def _limit(name: str, limit: int) -> None:
    number = getattr(resource, name, None)
    if number is None:
        return
    _, hard = resource.getrlimit(number)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(number, (limit, hard))


def _data_bytes() -> int | None:
    """Return the bytes that RLIMIT_DATA counts, or None if the system does not report them."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None
