"""CPU quotas of control groups, as systemd, Docker and Kubernetes set them."""

import os

import pytest

from app.config.cpus import available_cpus, background_cpus
from tests.config.control_groups import V1, V2, write_control_group

POD = "/kubepods.slice/kubepods-pod1.slice/cri-1.scope"


@pytest.fixture(autouse=True)
def many_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        (V2.format("/"), {}, 16),
        (V2.format("/"), {"cpu.max": "max 100000"}, 16),
        (V2.format("/"), {"cpu.max": ""}, 16),
        (V2.format("/"), {"cpu.max": "150000 100000"}, 1),
        (V2.format("/"), {"cpu.max": "50000 100000"}, 1),
        (V2.format("/"), {"cpu.max": "3200000 100000"}, 16),
        # systemd, on the service and on its slice
        (V2.format("/a.slice/b.service"), {"a.slice/b.service/cpu.max": "200000 100000"}, 2),
        (V2.format("/a.slice/b.service"), {"a.slice/cpu.max": "300000 100000"}, 3),
        (
            V2.format("/a.slice/b.service"),
            {"a.slice/b.service/cpu.max": "max 100000", "a.slice/cpu.max": "300000 100000"},
            3,
        ),
        # Kubernetes: the container has more than its pod
        (
            V2.format(POD),
            {f"{POD[1:]}/cpu.max": "800000 100000", f"{POD[1:-12]}/cpu.max": "400000 100000"},
            4,
        ),
        # a container without a cgroup namespace: the host's path, and its own group mounted
        (V2.format("/docker/0123"), {"cpu.max": "200000 100000"}, 2),
        (V1.format("/"), {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        (
            V1.format("/docker/0123"),
            {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"},
            2,
        ),
        (
            V1.format("/docker/0123"),
            {
                "cpu/docker/0123/cpu.cfs_quota_us": "100000",
                "cpu/docker/0123/cpu.cfs_period_us": "50000",
            },
            2,
        ),
    ],
)
def test_available_cpus_smallest_quota_counts(tmp_path, cgroup, files, cores):
    write_control_group(tmp_path, cgroup, files)
    assert available_cpus(tmp_path) == cores


def test_available_cpus_without_control_groups_is_the_affinity(tmp_path):
    assert available_cpus(tmp_path) == 16


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max", 16), ("1600000", 16), ("1550000", 14), ("800000", 7), ("200000", 1), ("50000", 1)],
)
def test_background_cpus_leave_one_of_a_quota_free(tmp_path, quota, cores):
    write_control_group(tmp_path, V2.format("/"), {"cpu.max": f"{quota} 100000"})
    assert background_cpus(tmp_path) == cores
