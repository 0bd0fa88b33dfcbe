"""Find the sheet of paper in a photo that also shows the desk around it.

What enters: a thumbnail. What leaves: a mask of the sheet, or None where the picture is all paper.
This module does not know what is written on the sheet.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

# An ellipse fills pi / 4 of the rectangle round it; a sheet, even seen askew, more than this.
FULL: Final = 0.87
# Paper in shadow keeps more than this of its tone; a desk shows less, right up to the edge.
DESK: Final = 0.6

NEAR: Final = np.ones((3, 3), np.uint8)
FAR: Final = np.ones((5, 5), np.uint8)


def find_page(thumb: MatLike) -> MatLike | None:
    """Return 1 on a light, rectangular, written sheet with dark surroundings (H, W) uint8."""
    _, light = cv2.threshold(thumb, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(light, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    outline = max(contours, key=cv2.contourArea)
    page = cv2.drawContours(np.zeros_like(thumb), [outline], -1, (1.0,), cv2.FILLED)
    if not _is_sheet(page, outline):
        return None
    page = cv2.erode(page, NEAR, borderType=cv2.BORDER_CONSTANT, borderValue=(1.0,))
    return page if _has_sharp_edge(thumb, page) and _is_written(thumb, page) else None


def _is_sheet(page: MatLike, outline: MatLike) -> bool:
    _, (width, height), _ = cv2.minAreaRect(outline)
    ring = np.concatenate((page[0], page[-1], page[:, 0], page[:, -1]))
    full = float(page.sum()) >= FULL * (width + 1) * (height + 1)
    return full and 0.15 < page.mean() < 0.97 and ring.mean() <= 0.75


def _has_sharp_edge(thumb: MatLike, page: MatLike) -> bool:
    inner = thumb[(page > 0) & (cv2.erode(page, FAR) == 0)]
    outer = thumb[(cv2.dilate(page, FAR) > 0) & (cv2.dilate(page, NEAR) == 0)]
    return bool(inner.size and outer.size and np.median(outer) <= DESK * np.median(inner))


def _is_written(thumb: MatLike, page: MatLike) -> bool:
    away = cv2.absdiff(thumb, cv2.medianBlur(np.ascontiguousarray(thumb), 15))
    inside = cv2.erode(page, NEAR) > 0
    tone = float(np.median(thumb[page > 0]))
    return bool(inside.any() and 0.002 < np.mean(away[inside] > 0.15 * tone) < 0.5)
