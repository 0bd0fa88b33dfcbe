"""A start that fails ends the command, and says why."""

import pytest

from tests.ray.cluster import STARTS, begin, clustered
from tests.service.running import comes_true, free_port


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"checkpoint": "missing.pt"}, "MYNET_CHECKPOINT: missing.pt cannot be read"),
        ({"ray_storage": "runs"}, "MYNET_RAY_STORAGE cannot be used: URI has empty scheme: 'runs'"),
        # Each replica finds that out.
        (
            {"device": "mps"},
            "no replica starts: app.net.BadDevice: There is no device 'mps' on this machine",
        ),
    ],
)
def test_a_start_that_fails_ends_in_words(tmp_path, settings, said):
    log = tmp_path / "log"
    process = begin(None, tmp_path / "var", free_port(), log, **settings)
    try:
        assert process.wait(STARTS) == 2, log.read_text()
    finally:
        process.kill()
    assert said in " ".join(log.read_text().split())


def test_who_waits_for_a_node_can_be_ended(tmp_path):
    """The head has no room for a replica, and no other node is there."""
    log = tmp_path / "log"
    with clustered(tmp_path) as cluster:
        process = begin(cluster, tmp_path / "var", free_port(), log)
        try:
            assert comes_true(lambda: "Adding 1 replica" in log.read_text(), STARTS)
            process.terminate()
            assert process.wait(STARTS) == 0, log.read_text()
        finally:
            process.kill()
