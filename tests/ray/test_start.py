"""A start that fails ends the command, and says why."""

import pytest

from tests.ray.cluster import STARTS, begin
from tests.service.running import wait_until, free_port


def fails(cluster, folder, **settings):
    """Start a service that shall fail; return its log."""
    log = folder / "log"
    process = begin(cluster, folder / "var", free_port(), log, **settings)
    try:
        assert process.wait(STARTS) == 2, log.read_text()
    finally:
        process.kill()
    return " ".join(log.read_text().split())


@pytest.mark.usefixtures("no_service")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"checkpoint": "missing.pt"}, "MYNET_CHECKPOINT: missing.pt cannot be read"),
        ({"ray_storage": "runs"}, "MYNET_RAY_STORAGE cannot be used: URI has empty scheme: 'runs'"),
    ],
)
def test_a_start_that_fails_ends_in_words(cluster, tmp_path, settings, said):
    assert said in fails(cluster, tmp_path, **settings)


def test_a_start_on_a_cluster_of_its_own_ends_in_words(tmp_path):
    """Each replica finds that out."""
    said = "no replica starts: app.net.BadDevice: There is no device 'mps' on this machine"
    assert said in fails(None, tmp_path, device="mps")


@pytest.mark.usefixtures("no_service")
def test_who_waits_for_a_node_can_be_ended(cluster, tmp_path):
    """No node has a GPU, and so none has room for a replica."""
    log = tmp_path / "log"
    process = begin(cluster, tmp_path / "var", free_port(), log, device="cuda")
    try:
        assert wait_until(lambda: "Adding 1 replica" in log.read_text(), STARTS)
        process.terminate()
        assert process.wait(STARTS) == 0, log.read_text()
    finally:
        process.kill()
