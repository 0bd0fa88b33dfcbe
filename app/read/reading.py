"""What was read in an image: lines of digits."""

from collections.abc import Sequence
from typing import NamedTuple

from app.image.segmentation.graph import Graph
from app.predict.model import Model
from app.read.best_path import Digit, read_line


class Reading(NamedTuple):
    """The lines of an image from top to bottom, and the version that read them.

    The boxes of the digits are in pixels of the upright upload.
    """

    lines: list[list[Digit]]
    version: int

    @property
    def text(self) -> str:
        """Return the digits, one line of text for each line."""
        return "\n".join(map(text_of, self.lines))


def text_of(line: list[Digit]) -> str:
    """Return the digits of a line as text."""
    return "".join(str(digit.digit) for digit in line)


def read_lines(graphs: Sequence[Graph], scale: float, model: Model) -> Reading:
    """Return the digits of each line; `scale` leads from their boxes to the upload's pixels."""
    lines = [read_line(graph, model) for graph in graphs]
    return Reading([[_scaled(digit, scale) for digit in line] for line in lines], model.version)


def _scaled(digit: Digit, scale: float) -> Digit:
    return digit._replace(box=digit.box.scaled(scale))
