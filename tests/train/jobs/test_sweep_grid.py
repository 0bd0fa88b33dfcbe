"""What may be asked of a sweep, and the jobs that come of it."""

import pytest
from pydantic import ValidationError

from app.train.jobs.sweep_grid import Grid


def jobs(body, seed=7):
    return Grid.model_validate_json(body).jobs(seed)


def test_each_combination_is_a_job():
    combinations = jobs('{"learning_rate": [0.003, 0.01, 0.03], "seed": [1, 2], "epochs": 2}')
    assert {(job.learning_rate, job.seed) for job in combinations} == {
        (rate, seed) for rate in (0.003, 0.01, 0.03) for seed in (1, 2)
    }
    assert len(combinations) == 6
    assert {(job.epochs, job.promote) for job in combinations} == {(2, "never")}


def test_what_is_not_asked_for_is_the_recipes(seed=7):
    robust, documented = jobs('{"recipe": ["robust", "documented"]}')
    assert (robust.epochs, documented.epochs) == (200, 10)
    assert robust.seed == documented.seed == seed, "one for all"


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ('{"epochs": []}', ("epochs",), "at least 1 item"),
        ('{"epochs": [1, 1.0]}', ("epochs",), "contains a value twice"),
        ('{"epochs": 0}', ("epochs",), "greater than or equal to 1"),
        ('{"learning_rate": [0.1, 0]}', ("learning_rate", 1), "greater than 0"),
        ('{"learning_rate": [0.1, 1e-46]}', ("learning_rate", 1), "is 0 as a float32"),
        ('{"lr": 1}', ("lr",), "not permitted"),
        ('{"promote": ["never"]}', ("promote",), "must be never, because"),
        (
            '{"promote": "if_better"}',
            ("promote",),
            "promote the version of `best` in GET /sweeps/ID",
        ),
        ('{"device": ["cpu", "gpu"]}', ("device", 1), "must be auto"),
        ('{"seed": [1,2,3,4,5,6,7,8,9], "epochs": [1,2,3,4,5,6,7,8]}', ("epochs",), "72 jobs"),
    ],
)
def test_what_is_wrong_is_named(body, field, message):
    with pytest.raises(ValidationError, match=message) as excinfo:
        jobs(body)
    assert [error["loc"] for error in excinfo.value.errors()] == [field]


def test_64_jobs_are_not_too_many():
    assert len(jobs('{"seed": [1,2,3,4,5,6,7,8], "epochs": [1,2,3,4,5,6,7,8]}')) == 64
