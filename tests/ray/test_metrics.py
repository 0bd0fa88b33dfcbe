"""Metrics of each replica, at the endpoint of Ray on its node."""

from tests.conftest import ROOT
from tests.ray.rigs.scraping import by_replica
from tests.service.running import wait_until

SEVEN = (ROOT / "docs/images/seven.jpg").read_bytes()
REQUEST_COUNT = 12
TIMEOUT = 240  # Ray forgets what it was not told for twenty seconds
IMAGES = "ray_mynet_images_total"


def test_rays_endpoint_has_what_replicas_count(unused_service, cluster):
    def counted(name, **labels):
        return list(by_replica(cluster, name, **labels).values())

    assert wait_until(lambda: counted(IMAGES, outcome="answered") == [0, 0], TIMEOUT)
    for _ in range(REQUEST_COUNT):
        assert unused_service.post("/predict", SEVEN)["digit"] == 7
    bucket = "ray_mynet_http_request_duration_seconds_bucket"
    for name, labels in (
        (IMAGES, {"outcome": "answered"}),
        ("ray_mynet_answers_total", {"digit": "7"}),
        (bucket, {"le": "+Inf", "method": "POST", "route": "/predict"}),
    ):
        assert wait_until(lambda: sum(counted(name, **labels)) == REQUEST_COUNT, TIMEOUT), name  # noqa: B023
    live = str(unused_service.get("/models")["current"])
    assert wait_until(lambda: counted("ray_mynet_model_info", version=live) == [1, 1], TIMEOUT)
