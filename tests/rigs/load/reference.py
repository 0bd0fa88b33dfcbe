"""Reference prediction of the benchmark's peers: the shipped weights, and Pillow's pixels."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app.net import SIDE
from app.torch_net import MyNet, net_with, to_input
from app.versions import checkpoint
from app.versions.registry import SHIPPED


def load_bundled() -> MyNet:
    """Load the weights that a fresh service serves, for one thread."""
    torch.set_num_threads(1)
    files = SHIPPED.glob("*.safetensors")
    best = max(files, key=lambda file: checkpoint.read_card(file).test_accuracy)
    return net_with(checkpoint.read_weights(best)).eval().requires_grad_(False)


def decode(upload: bytes) -> Tensor:
    """Return an upload's (28, 28) uint8 pixels. Raises OSError where it is no image."""
    image = Image.open(BytesIO(upload)).convert("L").resize((SIDE, SIDE))
    return torch.from_numpy(np.array(image))


def predict_batch(net: MyNet, images: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Answer for images together, in their order."""
    with torch.inference_mode():
        probabilities = net(to_input(torch.stack(list(images)))).softmax(1)  # (B, 10) float32
    digits, rows = probabilities.argmax(1).tolist(), probabilities.tolist()
    return [{"digit": digit, "probabilities": row} for digit, row in zip(digits, rows, strict=True)]
