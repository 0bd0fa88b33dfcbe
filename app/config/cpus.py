"""Cores that this process may use: its affinity, and the CPU quotas of its control groups."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.config.control_groups import ROOT, control_groups

FILES: Final = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us"), 2: ("cpu.max",)}


def available_cpus(root: Path = ROOT) -> int:
    """Return the number of cores, at least 1. `root` has `proc` and `sys`."""
    return int(max(1, min([_affinity(), *_quotas(root)])))


def background_cpus(root: Path = ROOT) -> int:
    """Return the number of cores that processes of low priority may fill, at least 1.

    Where a quota limits the cores, one of them stays free: a group that has used up its quota
    stands still as a whole, whatever the priority of its processes.
    """
    cores, quota = _affinity(), min(_quotas(root), default=float("inf"))
    return cores if quota >= cores else max(1, int(quota) - 1)


def _affinity() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota in cores of each control group of this process that has one."""
    for group in control_groups(root, "cpu"):
        yield from _quota(" ".join(map(group.read, FILES[group.version])))


def _quota(text: str) -> Iterator[float]:
    """Yield time divided by period, both in microseconds; nothing for `max`, -1, or no file."""
    try:
        time, period = map(int, text.split())
    except ValueError:
        return
    if time > 0 and period > 0:
        yield time / period
