"""Memory that is left: of the machine, and of the control groups of this process."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from app.config.control_groups import ROOT, ControlGroup, control_groups, read

KIB: Final = 1024
# By version: the limit, the usage, and the part of it that the kernel frees first.
FILES: Final = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def available_memory(pids: Iterable[int] = (), root: Path = ROOT) -> float:
    """Return the bytes that these processes have, and those that are left for them and others.

    It is infinite if the system does not say, as macOS. `root` has `proc` and `sys`.
    """
    left = [_number(read(root / "proc/meminfo"), "MemAvailable:", KIB), *_left_in_groups(root)]
    # Without pages of files, such as PyTorch's: all processes share them.
    used = [_number(read(root / f"proc/{pid}/status"), "RssAnon:", KIB, 0) for pid in pids]
    return max(0.0, min(left)) + sum(used)


def _left_in_groups(root: Path) -> Iterator[float]:
    for group in control_groups(root, "memory"):
        yield _left_in_group(group)


def _left_in_group(group: ControlGroup) -> float:
    limit_file, usage_file, freed_first = FILES[group.version]
    limit, usage = group.read(limit_file).strip(), group.read(usage_file).strip()
    if not (limit.isdecimal() and usage.isdecimal()):  # `max`, or the root group
        return float("inf")
    freeable = _number(group.read("memory.stat"), freed_first, missing=0)
    return int(limit) - int(usage) + freeable


def _number(text: str, name: str, factor: int = 1, missing: float = float("inf")) -> float:
    """Return the number in the line that starts with `name`."""
    found = re.search(rf"^{re.escape(name)}\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) * factor if found else missing
