"""Boxes of ink: left, top, right and bottom in pixels; right and bottom are exclusive."""

from typing import NamedTuple


class Box(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def gap(self, other: "Box") -> int:
        across = max(other.left - self.right, self.left - other.right)
        return max(across, other.top - self.bottom, self.top - other.bottom)

    def shared_width(self, other: "Box") -> int:
        return max(0, min(self.right, other.right) - max(self.left, other.left))

    def shared_height(self, other: "Box") -> int:
        return max(0, min(self.bottom, other.bottom) - max(self.top, other.top))

    def contains(self, other: "Box") -> bool:
        """Return whether the other box lies within this one, and touches no edge of it."""
        across = self.left < other.left and other.right < self.right
        return across and self.top < other.top and other.bottom < self.bottom

    def union(self, other: "Box") -> "Box":
        lowest = map(min, self[:2], other[:2])
        highest = map(max, self[2:], other[2:])
        return Box(*lowest, *highest)

    def scaled(self, factor: float) -> "Box":
        """Return the box in an image `factor` times as large."""
        return Box(*(round(edge * factor) for edge in self))
