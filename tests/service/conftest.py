"""The service that tests share if they only send requests: none kills it, trains or promotes."""

from collections.abc import Iterator

import pytest

from tests.service.running import Service, run_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the settings of a fresh clone, and with the two routes that Vertex AI names.

    Each process of pytest-xdist has its own, so that no other test sends requests at the same time.
    """
    state = tmp_path_factory.mktemp("shared") / "var"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIP_HEALTH_ROUTE", "/health")
        patch.setenv("AIP_PREDICT_ROUTE", "/classify")
        with run_service(state) as service:
            yield service
