"""`python -m tools.gallery --url URL --manifest FILE --to PNG`: uploads, and what the network saw.

The picture has a row for each source of labelled images, as for `tools.accuracy`. On the left are
some uploads, each beside the 28×28 image that the network got. On the right are some that the
service read wrong.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import typer
from PIL import Image, ImageDraw

from tools.accuracy import ScoredImage, ask, paste, read_manifest

CELL: Final = 64
CORRECT_COLUMNS: Final = 7
WRONG_COLUMNS: Final = 3
LABEL: Final = 150
HEAD: Final = 24
BACKGROUND, TEXT = 250, 20


def main(
    url: Annotated[str, typer.Option()],
    manifest: Annotated[Path, typer.Option()],
    to: Annotated[Path, typer.Option()],
) -> None:
    """Draw what a live service sees in uploads."""
    results = sorted(
        ask(url, list(read_manifest(manifest))), key=lambda result: result.image.source
    )
    rows = [
        (source, list(group))
        for source, group in groupby(results, lambda result: result.image.source)
    ]
    width = LABEL + (CORRECT_COLUMNS + WRONG_COLUMNS) * (2 * CELL + 8) + 16
    picture = Image.new("L", (width, HEAD + len(rows) * (CELL + 8)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((LABEL, 6), "upload, and what the network saw", TEXT)
    draw.text((LABEL + CORRECT_COLUMNS * (2 * CELL + 8) + 16, 6), "not read right", TEXT)
    for number, (source, group) in enumerate(rows):
        top = HEAD + number * (CELL + 8)
        draw.text((4, top + CELL // 2 - 6), source, TEXT)
        _fill(
            picture, top, LABEL, [result for result in group if result.is_correct][:CORRECT_COLUMNS]
        )
        left = LABEL + CORRECT_COLUMNS * (2 * CELL + 8) + 16
        _fill(
            picture,
            top,
            left,
            [result for result in group if not result.is_correct][:WRONG_COLUMNS],
        )
    picture.save(to, optimize=True)


def _fill(picture: Image.Image, top: int, left: int, results: Sequence[ScoredImage]) -> None:
    draw = ImageDraw.Draw(picture)
    for index, result in enumerate(results):
        x = left + index * (2 * CELL + 8)
        paste(picture, result, (x, top), CELL)
        caption = str(result.digit) if result.error_code is None else "refused"
        draw.text((x + CELL + 3, top + 1), caption, 255)


if __name__ == "__main__":
    typer.run(main)
