"""Wrappers around the names of weights, as common training scripts leave them in their files.

Checkpoints hold the weights beside the optimizer, under a key such as `model_state_dict`.
`DataParallel`, `torch.compile` and Lightning put `module.`, `_orig_mod.` or `model.` before names.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from app.net import SHAPES

KEYS: Final = (
    *("state_dict", "model_state_dict", "model_state", "net_state_dict", "network_state_dict"),
    *("model", "net", "network", "weights", "params", "module"),
)
MAX_DEPTH: Final = 3
MAX_WRAPPERS: Final = MAX_DEPTH + 1
MAX_PREFIX: Final = 80  # characters
WRAPPER: Final = re.compile(r"[\w.-]*", re.ASCII)


class Unwrapped(NamedTuple):
    """Weights under MyNet's names, and the keys and prefixes that were removed, from outside in."""

    weights: object
    wrappers: list[str]


def unwrap(loaded: object) -> Unwrapped:
    """Return the weights inside of what a file holds, or all of it if they are not certain.

    They are certain if MyNet's names are there once, after one prefix. What is not after that
    prefix is left out: optimizers, epochs, weights of losses. Other names after it are kept, so
    that another network is not taken for MyNet.
    """
    candidates = list(_candidates(loaded, MAX_DEPTH))
    return candidates[0] if len(candidates) == 1 else Unwrapped(loaded, [])


def _candidates(loaded: object, depth: int) -> Iterator[Unwrapped]:
    """Yield the weights in a mapping, or in those under its usual keys."""
    if not isinstance(loaded, Mapping):
        return
    prefixes = _prefixes(loaded)
    for prefix in prefixes:
        yield Unwrapped(_without(prefix, loaded), [prefix]) if prefix else Unwrapped(loaded, [])
    for key in KEYS if depth and not prefixes else ():
        for inner in _candidates(loaded.get(key), depth - 1):
            yield Unwrapped(inner.weights, [key, *inner.wrappers])


def _without(prefix: str, loaded: Mapping[Any, object]) -> dict[str, object]:
    return {
        name.removeprefix(prefix): value
        for name, value in loaded.items()
        if isinstance(name, str) and name.startswith(prefix)
    }


def _prefixes(loaded: Mapping[Any, object]) -> list[str]:
    """Return what is before all of MyNet's names: nothing, or a path that ends with a dot."""
    names = {name for name in loaded if isinstance(name, str)}
    first = next(iter(SHAPES))
    prefixes = [name.removesuffix(first) for name in names if name.endswith(first)]
    return [
        prefix
        for prefix in prefixes
        if prefix[-1:] in ("", ".")
        and len(prefix) <= MAX_PREFIX
        and WRAPPER.fullmatch(prefix)
        and all(prefix + name in names for name in SHAPES)
    ]
