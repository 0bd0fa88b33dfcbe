"""Grey pixels as something that a browser shows.

What enters: pixels. What leaves: a PNG data URL. This module does not know what the pixels mean.
"""

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_data_url(pixels: NDArray[np.uint8]) -> str:
    """Encode (H, W) uint8 as a PNG data URL."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
