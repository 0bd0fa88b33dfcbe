"""The promotion gate with a registry: which live version is compared, and what goes live."""

import pytest
import torch

from app.torch_net import MyNet, net_with, weights_of
from app.train.evaluation import evaluate
from app.train.evaluation.promotion import evaluate_and_promote
from app.train.recipes.dataset import Digits
from app.versions.registry import Registry


@pytest.fixture
def weak_weights(registry):
    """Weights that are better than random ones and worse than version 1's: they read no 0."""
    weights = registry.weights(1)
    weights["fc4.bias"][0] = -1e3
    return weights


@pytest.fixture
def promote(registry, mnist):
    """Send a version through the gate, and return the verdict."""

    test = Digits(mnist.test.pixels[:500], mnist.test.labels[:500])

    def promote(version, rule="if_better", begin_commit=lambda: None, **options):
        model = net_with(registry.weights(version))
        correct = evaluate.correct_mask(model, test, torch.device("cpu"))
        return evaluate_and_promote(registry, version, correct, rule, test, begin_commit, **options)

    return promote


def save(registry, weights):
    return registry.save(weights, registry.card(1))


def test_version_that_a_better_one_replaced_is_not_promoted_again(registry, promote, weak_weights):
    worse = save(registry, weights_of(MyNet()))
    candidate, better = save(registry, weak_weights), save(registry, registry.weights(1))
    for version in (worse, candidate, better):
        registry.promote(version)
    verdict = promote(candidate)
    assert not verdict.promoted
    assert f"of version {better}," in verdict.reason
    assert registry.history() == [better, candidate, worse, 1]


def test_live_version_is_compared_with_the_version_that_it_replaced(
    registry, promote, weak_weights
):
    worse = save(registry, weights_of(MyNet()))
    candidate = save(registry, weak_weights)
    for version in (worse, candidate):
        registry.promote(version)
    verdict = promote(candidate)
    assert verdict.promoted
    assert f"of version {worse}," in verdict.reason
    assert registry.history() == [candidate, worse, 1]


def test_promotion_of_an_earlier_attempt_is_not_repeated_over_a_newer_version(registry, promote):
    candidate, newer = (save(registry, registry.weights(1)) for _ in range(2))
    for version in (candidate, newer):
        registry.promote(version)
    assert promote(candidate, "always", committing=True).promoted
    assert registry.history() == [newer, candidate, 1]


def test_begin_commit_that_raises_promotes_nothing(registry, promote):
    candidate = save(registry, registry.weights(1))

    def superseded():
        raise PermissionError

    with pytest.raises(PermissionError):
        promote(candidate, "always", superseded)
    assert registry.history() == [1]


def test_version_that_goes_live_meanwhile_is_the_one_to_beat(
    registry, promote, weak_weights, monkeypatch
):
    worse, candidate = save(registry, weights_of(MyNet())), save(registry, weak_weights)
    better = save(registry, registry.weights(1))
    registry.promote(worse)
    real = Registry.promote

    def promote_another_first(self, version, **options):
        monkeypatch.setattr(Registry, "promote", real)
        real(self, better)
        return real(self, version, **options)

    monkeypatch.setattr(Registry, "promote", promote_another_first)
    verdict = promote(candidate)
    assert not verdict.promoted
    assert f"of version {better}," in verdict.reason
    assert registry.history() == [better, worse, 1]
