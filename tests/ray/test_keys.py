"""Keys through Serve: what each replica opens, and to whom."""

import httpx2
import pytest

from tests.conftest import ROOT

SEVEN = (ROOT / "docs/images/seven.jpg").read_bytes()
ASKED = 24  # so that each replica is asked


@pytest.mark.parametrize(
    ("method", "path", "content"), [("POST", "/predict", SEVEN), ("GET", "/train", None)]
)
def test_a_key_opens(team, method, path, content):
    url = f"http://127.0.0.1:{team.port}{path}"
    for headers, status in (({}, 401), (team.headers, 200)):
        asked = {"content": content, "headers": headers, "timeout": 30}
        told = [httpx2.request(method, url, **asked) for _ in range(ASKED)]
        assert [each.status_code for each in told] == [status] * ASKED
