"""Sweeps by both clients, against the real service."""

import pytest

from mynet_client import ApiError, Client, NoBestVersion
from tests.service.running import wait_until


def test_a_sweep_is_started_listed_and_cancelled(mynet):
    grid = {"learning_rate": [0.01, 0.1], "epochs": 1000}
    first = mynet.start_sweep(grid, name="first", promote="never")
    again = [mynet.start_sweep({"epochs": [1, 2]}, idempotency_key=first.id) for _ in range(2)]
    assert again[0].id == again[1].id
    assert [job.hyperparameters for job in first.jobs] == [
        {"learning_rate": 0.01},
        {"learning_rate": 0.1},
    ]
    assert mynet.job(first.jobs[0].id).sweep == first.id
    page = mynet.sweeps(limit=1)
    assert ([sweep.id for sweep in page.data], page.has_more) == ([again[0].id], True)
    assert mynet.sweeps(after=again[0], limit=1).data[0].id == first.id
    for sweep in (again[0], first.id):
        assert mynet.cancel_sweep(sweep).is_final
    assert mynet.sweep(first).status == "cancelled"
    with pytest.raises(ApiError) as error:
        mynet.start_sweep({"epochs": []})
    assert [field_error.field for field_error in error.value.errors] == ["epochs"]


@pytest.fixture(scope="module")
def ended_sweep(service, url):
    with Client(url) as waiting:
        sweep = waiting.start_sweep({"seed": [1, 2], "epochs": 1}, promote="never")
        assert wait_until(lambda: waiting.sweep(sweep).is_final), service.log.read_text()
    return sweep


def test_promote_best_makes_the_best_version_of_an_ended_sweep_live(connect, url, ended_sweep):
    mynet, sweep = connect(url), ended_sweep
    best = mynet.sweep(sweep).best
    before = mynet.models().current
    assert best.version != before
    assert mynet.promote_best(sweep).version == best.version
    assert mynet.models().current == best.version
    assert mynet.rollback().version == before


def test_promote_best_of_a_sweep_that_has_not_ended_raises(mynet):
    sweep = mynet.start_sweep({"seed": [1, 2], "epochs": 1000}, promote="never")
    before = mynet.models().current
    with pytest.raises(NoBestVersion, match=f"^Sweep {sweep.id} is (queued|running)"):
        mynet.promote_best(sweep)
    mynet.cancel_sweep(sweep)
    with pytest.raises(NoBestVersion, match=f"^Sweep {sweep.id} cancelled without a version"):
        mynet.promote_best(sweep.id)
    assert mynet.models().current == before


def test_a_sweep_that_has_not_ended_cannot_be_deleted(mynet):
    sweep = mynet.start_sweep({"seed": [1, 2], "epochs": 1000}, promote="never")
    with pytest.raises(ApiError) as error:
        mynet.delete_sweep(sweep)
    assert error.value.code == "conflict"
    mynet.cancel_sweep(sweep)
    mynet.delete_sweep(sweep)
    with pytest.raises(ApiError) as error:
        mynet.sweep(sweep)
    assert error.value.code == "not_found"


def test_promote_best_of_an_unknown_sweep_raises(mynet):
    with pytest.raises(ApiError) as error:
        mynet.promote_best("zzz")
    assert error.value.code == "not_found"
