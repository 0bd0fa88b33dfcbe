"""An app whose bounds on data sets are low, for all tests of a module."""

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from tests.conftest import settings_in

MAX_IMAGES = 40


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = settings_in(tmp_path_factory.mktemp("datasets"))
    bounds = {"max_dataset_images": MAX_IMAGES, "max_dataset_bytes": 2**20, "max_body_bytes": 2**16}
    app = create_app(settings.model_copy(update=bounds))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def images(mnist):
    """Twenty test images, (20, 28, 28), and their labels."""
    return mnist.test.pixels[:20].numpy(), mnist.test.labels[:20].numpy().astype("uint8")
