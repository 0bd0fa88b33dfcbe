"""Two workers are counted together, and the dashboard asks for what there is."""

import json
import re

from tests.conftest import ROOT
from tests.service.running import run_service, wait_until

DASHBOARD = ROOT / "deploy" / "grafana" / "mynet.json"


def queries():
    """The queries of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def samples(service):
    """Every sample of the exposition: its value, by its name and labels."""
    lines = service.text("/metrics").splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def predictions(service):
    """Return the counts of predictions, as the worker that answers reports them."""
    values = samples(service)
    names = (
        'mynet_images_total{outcome="answered"}',
        'mynet_answers_total{digit="7"}',
        'mynet_http_requests_total{method="POST",route="/predict",status="200"}',
    )
    return {values.get(name) for name in names}


def test_two_workers_sum_up_and_fill_the_dashboard(tmp_path, seven):
    def both_have_some():
        """Predict on a new connection: on a busy machine one worker may accept many in a row."""
        digits.append(service.post("/predict", seven)["digit"])
        return len(list((tmp_path / "var/tallies").glob("*/*.json"))) == 2

    digits = []
    with run_service(tmp_path / "var", workers=2) as service:
        assert wait_until(lambda: service.went_live == 2)
        job = service.post("/train", b'{"epochs": 1}')["id"]
        assert wait_until(both_have_some)
        assert set(digits) == {7}
        assert wait_until(
            lambda: {count for _ in range(10) for count in predictions(service)} == {len(digits)}
        )
        service.job_until(job, lambda body: body["status"] == "succeeded")
        exposed_names = {name.partition("{")[0] for name in samples(service)}
        queried_names = {name for query in queries() for name in re.findall(r"mynet_\w+", query)}
        assert queried_names
        assert queried_names - exposed_names == set()
        service.end()
    assert not any((tmp_path / "var/tallies").glob("*/")), "nothing is left of a service"
