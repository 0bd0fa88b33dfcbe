"""Every thread for routes waits for a disk: who needs none is answered."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.main import create_app
from tests.api.routes.test_predict import data_url
from tests.conftest import png, settings_in
from tests.served import serve_app

THREADS = 40  # of AnyIO's, which FastAPI runs plain functions in


@pytest.fixture(scope="module")
def hung_client(tmp_path_factory):
    """Yield a client of a service in which no listing of versions comes to an end."""
    reached, release = threading.Semaphore(0), threading.Event()
    app = create_app(settings_in(tmp_path_factory.mktemp("hung")))

    def cards(_):
        reached.release()
        release.wait(300)
        return []

    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        serve_app(app) as client,
        ThreadPoolExecutor(THREADS + 1) as pool,
    ):
        monkeypatch.setattr("app.versions.registry.Registry.cards", cards)
        try:
            for _ in range(THREADS + 1):
                pool.submit(client.get, "/models", timeout=60)
            assert all(reached.acquire(timeout=120) for _ in range(THREADS))
            assert not reached.acquire(timeout=0.1), "one waits for a thread"
            yield client
        finally:
            release.set()


@pytest.fixture
def bmp(mnist):
    return png(mnist.test.pixels[0].numpy(), "BMP")


def test_predictions_of_all_kinds_are_answered(hung_client, bmp):
    text = {"image": data_url(bmp)}
    assert hung_client.post("/predict", content=bmp).json()["digit"] == 7
    assert hung_client.post("/predict", json=text).json()["digit"] == 7
    assert hung_client.post("/predict?explain=true", content=bmp).json()["digit"] == 7
    assert hung_client.post("/predict?version=1", files={"file": bmp}).json()["digit"] == 7
    several = hung_client.post("/predict/batch", files=[("files", bmp), ("files", bmp)])
    assert [prediction["digit"] for prediction in several.json()["predictions"]] == [7, 7]
    assert hung_client.post("/invocations", content=bmp).json()["digit"] == 7
    text = {"instances": [data_url(bmp)]}
    assert hung_client.post("/v1/models/mynet:predict", json=text).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/ping", "/v2/health/ready"])
def test_probes_are_answered(hung_client, path):
    assert hung_client.get(path).status_code == 200
