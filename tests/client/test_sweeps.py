"""Sweeps by both clients, against the real service."""

import pytest

from mynet_client import ApiError


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
