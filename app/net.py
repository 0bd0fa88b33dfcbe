"""MyNet's input format and weights, as training and prediction share them.

The input is 28×28 pixels in MNIST's form, ink light on dark. The output is ten logits. The network
is in `app.torch_net` for training, and in `app.predict.numpy_net` for predictions on the CPU. This
module must not import torch: every process of the service imports it.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 28
PIXELS: Final = SIDE * SIDE
DIGITS: Final = 10
MEAN: Final = 0.5
STD: Final = 1.0
# The tutorial's network, 346,742 parameters: outputs and inputs of each layer.
LAYERS: Final = {"fc1": (300, PIXELS), "fc2": (256, 300), "fc3": (128, 256), "fc4": (DIGITS, 128)}
# The weights in the order of a state dict.
SHAPES: Final[dict[str, tuple[int, ...]]] = {
    f"{layer}.{name}": shape
    for layer, units in LAYERS.items()
    for name, shape in (("weight", units), ("bias", units[:1]))
}
Weights = Mapping[str, NDArray[np.float32]]


class InvalidWeights(Exception):
    """The weights are not MyNet's; the message says in what they differ."""


def check_weights(weights: object) -> dict[str, NDArray[np.float32]]:
    """Return a copy of `weights` as MyNet's, float32, in the order of `SHAPES`.

    Raises InvalidWeights if names or shapes are not MyNet's, or values are not finite.
    """
    if not isinstance(weights, Mapping):
        raise InvalidWeights(f"it contains a {type(weights).__name__} instead of a state dict")
    if not all(isinstance(name, str) for name in weights):
        raise InvalidWeights("it contains names that are not text")
    if set(weights) != set(SHAPES):
        names = str(sorted(map(str, weights)))
        raise InvalidWeights(f"its names are {names:.500}; MyNet's are {sorted(SHAPES)}")
    return {name: _check(name, weights[name], shape) for name, shape in SHAPES.items()}


def _check(name: str, array: Any, expected_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return one array as float32. Also checks whether its values are finite as float32."""
    shape = tuple(getattr(array, "shape", ()))
    if shape != expected_shape:
        raise InvalidWeights(f"{name} has shape {shape}; MyNet's has {expected_shape}")
    if isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):  # a larger float64 becomes infinite
            checked = np.array(array, np.float32, order="C")
        if np.isfinite(checked).all():
            return checked
    raise InvalidWeights(f"{name} has values that are not finite floating-point numbers")
