"""Wrappers of weights are removed if it is certain what is inside."""

import random

import pytest

from app.net import SHAPES
from app.versions.unwrap import MAX_PREFIX, unwrap

WEIGHTS = {name: object() for name in SHAPES}
KEYS = ("state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "module._orig_mod.",
    "model.net.",
    "a.b_1-c.",
)


def prefixed(prefix, weights=None):
    return {prefix + name: value for name, value in (weights or WEIGHTS).items()}


def test_weights_without_wrappers_are_returned_as_they_are():
    for loaded in (WEIGHTS, {**WEIGHTS, "fc5.bias": 1}, {**WEIGHTS, 7: 1}, {}, [], None, object()):
        assert unwrap(loaded) == (loaded, [])


@pytest.mark.parametrize("prefix", ["", *PREFIXES])
@pytest.mark.parametrize("keys", [[], *([key] for key in KEYS), ["model", "state_dict"]])
def test_keys_and_prefix_are_removed_and_named(keys, prefix):
    rng = random.Random(f"{keys} {prefix}")
    loaded = prefixed(prefix)
    for key in reversed(keys):
        other_entries = {"epoch": 3, "optimizer": {"state": {}}, "loss": 0.1, "lr_schedulers": []}
        names = rng.sample([*other_entries], rng.randint(0, 4))
        loaded = {**{name: other_entries[name] for name in names}, key: loaded}
    wrappers = [*keys, prefix] if prefix else keys
    assert unwrap(loaded) == (WEIGHTS, wrappers)


def test_what_is_not_after_the_prefix_is_left_out():
    loaded = {"state_dict": {**prefixed("model."), "criterion.weight": 1, "steps": 2}}
    assert unwrap(loaded) == (WEIGHTS, ["state_dict", "model."])


@pytest.mark.parametrize(
    "loaded",
    [
        {**prefixed("model."), **prefixed("ema.")},
        {**WEIGHTS, **prefixed("ema.")},
        {"model": WEIGHTS, "state_dict": WEIGHTS},
        {"teacher": WEIGHTS},
        prefixed("x"),
        prefixed("é."),
        prefixed("x" * MAX_PREFIX + "."),
        {"model": {"net": {"weights": {"params": {"state_dict": WEIGHTS}}}}},
        {"state_dict": {"module.fc1.weight": 1}},
    ],
)
def test_what_is_not_certain_is_left_as_it_is(loaded):
    assert unwrap(loaded) == (loaded, [])


def test_other_layers_after_the_prefix_are_kept_for_the_check():
    loaded = {**prefixed("module."), "module.fc5.bias": 1}
    assert unwrap(loaded).weights == {**WEIGHTS, "fc5.bias": 1}
