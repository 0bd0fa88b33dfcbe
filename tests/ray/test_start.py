"""A start that fails ends the command, and says why."""

import pytest

from tests.ray.rigs.cluster import START_TIMEOUT, start_service
from tests.service.running import free_port, wait_until


def failed_start_log(cluster, folder, **settings):
    """Start a service whose start must fail, and return its log."""
    log = folder / "log"
    process = start_service(cluster, folder / "var", free_port(), log, **settings)
    try:
        assert process.wait(START_TIMEOUT) == 2, log.read_text()
    finally:
        process.kill()
    return " ".join(log.read_text().split())


@pytest.mark.usefixtures("no_service")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checkpoint": "missing.pt"}, "MYNET_CHECKPOINT: missing.pt cannot be read"),
        ({"ray_storage": "runs"}, "MYNET_RAY_STORAGE cannot be used: URI has empty scheme: 'runs'"),
    ],
)
def test_a_start_that_fails_ends_in_words(cluster, tmp_path, settings, message):
    assert message in failed_start_log(cluster, tmp_path, **settings)


def test_a_start_on_a_cluster_of_its_own_ends_in_words(tmp_path):
    """Each replica finds that out."""
    message = (
        "The replicas failed to start: app.devices.DeviceUnavailable: "
        "The device 'mps' does not exist"
    )
    assert message in failed_start_log(None, tmp_path, device="mps")


@pytest.mark.usefixtures("no_service")
def test_who_waits_for_a_node_can_be_ended(cluster, tmp_path):
    """No node has a GPU, and so none has room for a replica."""
    log = tmp_path / "log"
    process = start_service(cluster, tmp_path / "var", free_port(), log, device="cuda")
    try:
        assert wait_until(lambda: "Adding 1 replica" in log.read_text(), START_TIMEOUT)
        process.terminate()
        assert process.wait(START_TIMEOUT) == 0, log.read_text()
    finally:
        process.kill()
