"""API keys through Ray Serve: which routes each replica opens for which key."""

import httpx2
import pytest

from tests.conftest import ROOT

SEVEN = (ROOT / "docs/images/seven.jpg").read_bytes()
REQUEST_COUNT = 24  # so that each replica is asked


@pytest.mark.parametrize(
    ("method", "path", "content"), [("POST", "/predict", SEVEN), ("GET", "/train", None)]
)
def test_a_key_opens(ddp_service, method, path, content):
    url = f"http://127.0.0.1:{ddp_service.port}{path}"
    for headers, status in (({}, 401), (ddp_service.headers, 200)):
        options = {"content": content, "headers": headers, "timeout": 30}
        responses = [httpx2.request(method, url, **options) for _ in range(REQUEST_COUNT)]
        assert [response.status_code for response in responses] == [status] * REQUEST_COUNT
