"""What the best of a sweep is compared with before it goes live, and where it goes live."""

import pytest

from app.net import MyNet
from tests.train.jobs.test_sweep import end, ended, sweeps  # noqa: F401


@pytest.fixture
def weak_weights(registry):
    """Weights that are better than drawn ones and worse than version 1's: they know no 0."""
    weights = registry.weights(1)
    weights["fc4.bias"][0] = -1e3
    return weights


def save(registry, weights):
    return registry.save(weights, registry.card(1))


def test_it_does_not_replace_a_better_one_that_replaced_it(ended, end, registry, weak_weights):  # noqa: F811
    worse = save(registry, MyNet().state_dict())
    row = ended((0.9, 0.1), weights=weak_weights, promote="if_better")
    best, better = worse + 1, save(registry, registry.weights(1))
    for version in (worse, best, better):  # while other jobs of the sweep still ran
        registry.promote(version)
    done = end(row)
    assert registry.history() == [better, best, worse, 1]
    assert (done.result["version"], done.result["promoted"]) == (best, False)
    assert f"of version {better}," in done.result["reason"]


def test_where_it_is_live_already_it_is_compared_with_what_it_replaced(
    ended,  # noqa: F811
    end,  # noqa: F811
    registry,
    weak_weights,
):
    worse = save(registry, MyNet().state_dict())
    row = ended((0.9, 0.1), weights=weak_weights, promote="if_better")
    for version in (worse, worse + 1):
        registry.promote(version)
    done = end(row)
    assert registry.history() == [worse + 1, worse, 1]
    assert done.result["promoted"] is True
    assert f"of version {worse}," in done.result["reason"]
