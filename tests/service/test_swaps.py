"""Swaps and rollbacks under load: no request fails, and every answer is of the version it names."""

import asyncio

import pytest

from bench import lookalikes
from bench.load import failed, run
from bench.swapping import press, swap
from tests.service.running import comes_true, serving


@pytest.fixture
def state(tmp_path):
    return tmp_path / "var"


@pytest.fixture
def known(state):
    return lookalikes.make(state)


def test_no_request_fails_and_no_answer_mixes_versions(state, known):
    with serving(state) as service:
        phase = run(press(service.port, known, 16, swap(service.port, 40, 0.05)))
        service.end()
    assert len(phase.swaps) == 40
    assert (failed(phase.exchanges), phase.not_swapped) == (0, 0)
    assert {each.answer["version"] for each in phase.exchanges} == {1, 2, 3}
    assert lookalikes.mistaken(phase.exchanges, known) == 0
    assert phase.out_of_date == 0, "a version is live when the answer to its promotion comes"


def test_all_workers_follow(state, known):
    with serving(state, workers=2) as service:
        assert comes_true(lambda: service.went_live == 2)
        phase = run(press(service.port, known, 16, swap(service.port, 2, 1.0), kept=False))
        assert comes_true(lambda: service.log.read_text().count("version 3 is live") == 2)
        settled = run(press(service.port, known, 4, asyncio.sleep(1), kept=False))
        service.end()
    exchanges = phase.exchanges + settled.exchanges
    assert (failed(exchanges), phase.not_swapped) == (0, 0)
    assert lookalikes.mistaken(exchanges, known) == 0
    assert {each.answer["version"] for each in settled.exchanges} == {3}
