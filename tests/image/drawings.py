"""Digits and what surrounds them, drawn for each variant: pen, size, place and slant vary."""

import cv2
import numpy as np

# Strokes as points of a unit square, (x, y).
ANGLES = np.linspace(0, 2 * np.pi, 24)
OVAL = np.stack([0.5 + 0.3 * np.sin(ANGLES), 0.5 - 0.5 * np.cos(ANGLES)], 1)
SHAPES = {
    0: [OVAL],
    1: [[(0.5, 0), (0.5, 1)]],
    4: [[(0.35, 0), (0.15, 0.6), (0.85, 0.6)], [(0.65, 0.3), (0.65, 1)]],
    6: [np.concatenate([[(0.75, 0)], OVAL[19:] * (1, 0.6) + (0, 0.4), OVAL * (1, 0.6) + (0, 0.4)])],
    7: [[(0.1, 0), (0.85, 0), (0.4, 1)]],
}


class Sheet:
    """Paper, (height, width), on which things are drawn with a random pen."""

    def __init__(self, seed: int, height: int = 280, width: int = 280) -> None:
        self.random = np.random.default_rng(seed)
        self.ink = np.zeros((height, width), np.uint8)
        self.pen = int(self.random.integers(6, 13))

    def digit(self, value: int, x: float, y: float, size: float) -> tuple[int, int, int, int]:
        """Draw a digit `size` pixels high around (x, y), and return its box."""
        lean = self.random.uniform(-0.15, 0.1)
        wide = self.random.uniform(0.6, 0.8)
        before = self.ink.copy()
        for stroke in SHAPES[value]:
            points = np.asarray(stroke) - 0.5
            across = (points[:, 0] * wide - points[:, 1] * lean) * size + x
            self.line(np.stack([across, points[:, 1] * size + y], 1))
        left, top, w, h = cv2.boundingRect(cv2.subtract(self.ink, before))
        return left, top, left + w, top + h

    def line(self, points, pen: int | None = None, closed: bool = False) -> None:
        fixed = [np.rint(np.asarray(points) * 8).astype(np.int32)]
        cv2.polylines(self.ink, fixed, closed, 255, pen or self.pen, cv2.LINE_AA, 3)

    def grey(self) -> np.ndarray:
        """Return the sheet with paper, tone and noise."""
        paper, tone = self.random.uniform(215, 255), self.random.uniform(0, 70)
        page = paper - (paper - tone) * (self.ink / 255)
        return np.clip(page + self.random.normal(0, 2, page.shape), 0, 255).astype(np.uint8)
