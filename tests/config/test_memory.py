"""Memory that is left, on the machine and in control groups."""

import math

import pytest

from app.config.memory import available_memory
from tests.config.control_groups import V1, V2, write_control_group

MEMINFO = "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 8000 kB\n"
MEMORY = 8000 * 1024
# Version 1 writes that where no limit is set.
NO_LIMIT = 2**63 - 4096


def group_v2(limit, usage, inactive_file):
    return {
        "memory.max": limit,
        "memory.current": usage,
        "memory.stat": f"anon 1\ninactive_file {inactive_file}\nslab 2",
    }


def group_v1(limit, usage, inactive_file):
    return {
        "memory/memory.limit_in_bytes": limit,
        "memory/memory.usage_in_bytes": usage,
        "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive_file}",
    }


@pytest.mark.parametrize(
    ("cgroup", "files", "left"),
    [
        (V2.format("/"), {}, MEMORY),
        (V2.format("/"), group_v2("max", 7000, 0), MEMORY),
        (V2.format("/"), group_v2(5000, 3000, 500), 2500),
        (V2.format("/"), group_v2(3000, 5000, 0), 0),
        (V2.format("/a"), {f"a/{n}": c for n, c in group_v2(900, 800, 1).items()}, 101),
        (V1.format("/"), group_v1(NO_LIMIT, 7000, 0), MEMORY),
        (V1.format("/"), group_v1(5000, 3000, 500), 2500),
    ],
)
def test_available_memory_smallest_limit_counts(tmp_path, cgroup, files, left):
    write_control_group(tmp_path, cgroup, files)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    assert available_memory(root=tmp_path) == left


def test_available_memory_counts_that_of_processes_without_files(tmp_path):
    write_control_group(tmp_path, "", {})
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    (tmp_path / "proc/17").mkdir()
    (tmp_path / "proc/17/status").write_text("VmRSS:\t 500 kB\nRssAnon:\t 300 kB\n")
    assert available_memory([17, 18], tmp_path) == MEMORY + 300 * 1024


def test_available_memory_of_a_system_that_does_not_say_is_infinite(tmp_path):
    assert available_memory([17], tmp_path) == math.inf
