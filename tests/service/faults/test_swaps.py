"""Swaps and rollbacks under load: no request fails, and every answer is of the version it names."""

import asyncio
import shutil

import pytest

from tests.rigs.load.http_load import failed, run
from tests.rigs.swaps import distinct_versions
from tests.rigs.swaps.swapping import press, swap
from tests.service.running import run_service, wait_until


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A state folder with three versions, which no service has changed."""
    return tmp_path_factory.mktemp("prepared") / "var"


@pytest.fixture(scope="module")
def reference(prepared):
    return distinct_versions.make(prepared)


@pytest.fixture
def state(tmp_path, prepared, reference):  # noqa: ARG001, which fills the folder
    return shutil.copytree(prepared, tmp_path / "var")


def test_no_request_fails_and_no_answer_mixes_versions(state, reference):
    with run_service(state) as service:
        phase = run(press(service.port, reference, 16, swap(service.port, 40, 0.05)))
        service.end()
    assert len(phase.swaps) == 40
    assert (failed(phase.exchanges), phase.not_swapped) == (0, 0)
    assert {exchange.answer["version"] for exchange in phase.exchanges} == {1, 2, 3}
    assert distinct_versions.count_mismatches(phase.exchanges, reference) == 0
    assert phase.out_of_date == 0, "a version is live when the answer to its promotion comes"


def test_all_workers_follow(state, reference):
    with run_service(state, workers=2) as service:
        assert wait_until(lambda: service.went_live == 2)
        phase = run(
            press(service.port, reference, 16, swap(service.port, 2, 1.0), keep_alive=False)
        )
        assert wait_until(lambda: service.log.read_text().count("went live: version=3") == 2)
        settled = run(press(service.port, reference, 4, asyncio.sleep(1), keep_alive=False))
        service.end()
    exchanges = phase.exchanges + settled.exchanges
    assert (failed(exchanges), phase.not_swapped) == (0, 0)
    assert distinct_versions.count_mismatches(exchanges, reference) == 0
    assert {exchange.answer["version"] for exchange in settled.exchanges} == {3}
