"""Resource limits (setrlimit) for the process that reads untrusted files.

The limits are relative to what the process has used when they are set: PyTorch alone takes most of
a gigabyte and several seconds. A limit that the system does not support is skipped.
"""

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_MEMORY_BYTES: Final = 1024**3
MAX_CPU_SECONDS: Final = 60
MAX_OPEN_FILES: Final = 64
MAX_FILE_BYTES: Final = 256 * 1024**2
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
