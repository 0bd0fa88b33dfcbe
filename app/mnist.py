"""MNIST's test images, for who looks at them without training.

What enters: the folder that holds `MNIST/raw`. What leaves: the 10,000 images with their labels, as
arrays. Nothing is downloaded, and torchvision is not needed. This module does not know what anybody
answers for an image.
"""

import gzip
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import NotReady
from app.net import SIDE

IMAGES: Final = "t10k-images-idx3-ubyte"
LABELS: Final = "t10k-labels-idx1-ubyte"
UINT8: Final = 0x08


class Labelled(NamedTuple):
    """Pixels, (N, 28, 28) uint8, ink light on dark; labels, (N,) uint8."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@lru_cache(1)
def read_test_images(data_dir: Path) -> Labelled:
    """Read the test images, packed or unpacked. Raises NotReady where they are not there."""
    raw = data_dir / "MNIST" / "raw"
    try:
        pixels, labels = _read(raw / IMAGES), _read(raw / LABELS)
    except FileNotFoundError:
        raise NotReady(
            "MNIST's test images are not here yet: they come with the first training."
        ) from None
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise NotReady(f"MNIST's test images cannot be read: {error}") from error
    if pixels.shape[1:] != (SIDE, SIDE) or labels.shape != pixels.shape[:1]:
        raise NotReady(f"MNIST's test images have the shapes {pixels.shape}, {labels.shape}.")
    return Labelled(pixels, labels)


def _read(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file: two zeros, the type, the number of sizes, the sizes, the values."""
    packed = path.with_name(f"{path.name}.gz")
    content = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
    if content[:3] != bytes((0, 0, UINT8)):
        raise ValueError(f"{path.name} is no IDX file of bytes")
    start = 4 + 4 * content[3]
    sizes = np.frombuffer(content[4:start], ">u4")
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)
