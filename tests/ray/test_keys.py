"""Keys through Serve: what each replica opens, and to whom."""

import httpx2
import pytest

from tests.conftest import ROOT
from tests.ray.cluster import serving

KEY = "the-first-key-of-all"
SEVEN = (ROOT / "docs/images/seven.jpg").read_bytes()
ASKED = 24  # so that each replica is asked


@pytest.fixture(scope="module")
def service(cluster, state):
    settings = {"workers": 2, "auth": "keys", "admin_key": KEY, "predict_timeout": 30}
    with serving(cluster, state, **settings) as service:
        yield service


@pytest.mark.parametrize(
    ("method", "path", "content"), [("POST", "/predict", SEVEN), ("GET", "/train", None)]
)
def test_a_key_opens(service, method, path, content):
    url = f"http://127.0.0.1:{service.port}{path}"
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {KEY}"}, 200)):
        asked = {"content": content, "headers": headers, "timeout": 30}
        told = [httpx2.request(method, url, **asked) for _ in range(ASKED)]
        assert [each.status_code for each in told] == [status] * ASKED
