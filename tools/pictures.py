"""MNIST's test digits as people would send them: drawn, scanned, photographed.

The strokes are MNIST's, so the labels are certain; paper, light, pens and lenses are drawn here.
The training uses none of these pictures.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]
Ink: TypeAlias = NDArray[np.float32]  # (H, W), from 0 to 1


def canvas(digit: Pixels, random: Generator) -> bytes:
    """Strokes on the canvas of a web page, with a transparent ground."""
    ink = _ink(digit, random, 280, random.uniform(0.35, 0.9))
    tone = random.choice([0, 40])
    alpha = Image.fromarray((255 * ink).astype(np.uint8))
    picture = Image.new("RGBA", alpha.size, (tone, tone, tone, 0))
    picture.putalpha(alpha)
    return _file(picture, "PNG")


def drawing(digit: Pixels, random: Generator) -> bytes:
    """A drawing program's white page."""
    page = _on_paper(_ink(digit, random, int(random.integers(80, 400)), random.uniform(0.3, 0.9)))
    return _file(Image.fromarray(page), "PNG")


def tight(digit: Pixels, random: Generator) -> bytes:
    """A crop that leaves no border."""
    ink = _ink(digit, random, 160, 0.95)
    left, top, width, height = cv2.boundingRect((ink > 0.2).astype(np.uint8))
    page = _on_paper(ink[top : top + height, left : left + width])
    return _file(Image.fromarray(page if random.random() < 0.5 else 255 - page), "PNG")


def thin(digit: Pixels, random: Generator) -> bytes:
    """A fine pen, scanned."""
    ink = _ink(digit, random, 400, random.uniform(0.3, 0.7), pen=-9)
    return _scan(_on_paper(ink, random.uniform(30, 110)), random)


def ruled(digit: Pixels, random: Generator) -> bytes:
    """Paper with lines, or squares."""
    ink = _ink(digit, random, 400, random.uniform(0.3, 0.6))
    page = _on_paper(ink, 50)
    step, tone = int(random.integers(28, 60)), int(random.integers(150, 215))
    page[step::step] = np.minimum(page[step::step], tone)
    if random.random() < 0.5:
        page[:, step::step] = np.minimum(page[:, step::step], tone)
    return _scan(page, random)


def framed(digit: Pixels, random: Generator) -> bytes:
    """A box of a form."""
    page = _on_paper(_ink(digit, random, 300, random.uniform(0.4, 0.65)), 40)
    edge = int(random.integers(4, 20))
    cv2.rectangle(page, (edge, edge), (299 - edge, 299 - edge), (60,), int(random.integers(1, 6)))
    return _scan(page, random)


def photo(digit: Pixels, random: Generator) -> bytes:
    """A sheet by lamplight: uneven, shadowed, askew, out of focus."""
    side = 1200
    ink = _ink(digit, random, side, random.uniform(0.25, 0.6), pen=int(random.integers(-12, 10)))
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    light = 0.55 + 0.45 * (x * random.uniform(-1, 1) + y * random.uniform(-1, 1) + 0.5)
    if random.random() < 0.5:
        edge = x * random.uniform(0.3, 1) + y * random.uniform(0.3, 1) - random.uniform(0.4, 1)
        light *= 1 - 0.45 / (1 + np.exp(-edge * random.uniform(8, 40)))
    page = 225 * np.clip(light, 0.2, 1.1) * (1 - random.uniform(0.5, 0.85) * ink)
    page = cv2.GaussianBlur(page, (0, 0), random.uniform(0.8, 4))
    page += random.normal(0, random.uniform(1, 6), page.shape)
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = corners + random.uniform(-60, 60, (4, 2)).astype(np.float32)
    turned = cv2.warpPerspective(
        page.astype(np.float32), cv2.getPerspectiveTransform(corners, moved), (side, side),
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    tones = np.clip(turned, 0, 255)[..., None] * np.array([1, 0.96, 0.88])
    return _file(Image.fromarray(tones.astype(np.uint8)), "JPEG")


SOURCES: Final[dict[str, Callable[[Pixels, Generator], bytes]]] = {
    draw.__name__: draw for draw in (canvas, drawing, tight, thin, ruled, framed, photo)
}


def _ink(digit: Pixels, random: Generator, side: int, share: float, pen: int = 0) -> Ink:
    """Draw the digit smoothly, `share` of the page high, a little off its middle."""
    size = int(side * share * 28 / 20)
    large = cv2.resize(digit, (size, size), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(large.astype(np.float32), (0, 0), size / 60)
    sharp = np.clip((smooth - 90) / 60, 0, 1)
    if pen:
        width = max(1, abs(pen) * size // 400) | 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        sharp = (cv2.dilate if pen > 0 else cv2.erode)(sharp, disc)
    page = np.zeros((3 * side, 3 * side), np.float32)
    slack = side * (1 - share) / 3
    top, left = (int(1.5 * side - size / 2 + random.uniform(-slack, slack)) for _ in range(2))
    page[top : top + size, left : left + size] = sharp
    return page[side : 2 * side, side : 2 * side]


def _on_paper(ink: Ink, tone: float = 0) -> Pixels:
    return (255 - (255 - tone) * ink).astype(np.uint8)


def _scan(page: Pixels, random: Generator) -> bytes:
    noisy = page * random.uniform(0.85, 1) + random.normal(0, random.uniform(1, 5), page.shape)
    return _file(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), "JPEG")


def _file(picture: Image.Image, form: str) -> bytes:
    file = BytesIO()
    picture.save(file, form)
    return file.getvalue()
