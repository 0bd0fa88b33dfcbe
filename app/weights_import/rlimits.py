"""Resource limits (setrlimit) of the process that reads untrusted weights.

The limits are relative to what the process has used when they are set. PyTorch, which a state dict
needs, takes half a gigabyte and several seconds of them. A limit that the system does not support
is skipped.
"""

import math
import resource
from typing import Final

from app.sandbox.limits import data_bytes, set_limit

MAX_MEMORY_BYTES: Final = 1024**3
MAX_CPU_SECONDS: Final = 60
MAX_OPEN_FILES: Final = 64
MAX_FILE_BYTES: Final = 256 * 1024**2


def apply_rlimits() -> None:
    """Limit the memory, CPU time, open files and file size of this process, permanently."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    set_limit("RLIMIT_CPU", math.ceil(usage.ru_utime + usage.ru_stime) + MAX_CPU_SECONDS)
    set_limit("RLIMIT_NOFILE", MAX_OPEN_FILES)
    set_limit("RLIMIT_FSIZE", MAX_FILE_BYTES)
    set_limit("RLIMIT_CORE", 0)
    used = data_bytes()
    if used is not None:
        # Not RLIMIT_AS: libraries reserve gigabytes of address space that they never use.
        set_limit("RLIMIT_DATA", used + MAX_MEMORY_BYTES)
