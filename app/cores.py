"""How many cores there are.

What enters: nothing. What leaves: a number. This module does not know what runs on them.
"""

import os
from pathlib import Path


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the cores that this process may use: those it may run on, within a container's quota.

    `quota` holds microseconds of CPU time and the period that they are for (cgroup v2).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        most, period = quota.read_text().split()
        return min(cores or 1, max(1, int(most) // int(period)))
    except (OSError, ValueError):  # no cgroup, or "max": no quota
        return cores or 1
