"""`python -m bench.accuracy --url URL --manifest FILE`: how well a live service reads a folder.

What enters: a service's address, and a CSV file with the columns `path` (from the file's own
folder), `label`, and `source` where there are several. What leaves: a table by source with the
confusions on the terminal, and a contact sheet of what was read wrong. This module does not know
how the service reads.
"""

import base64
import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import httpx2
import typer
from PIL import Image, ImageDraw, ImageOps

AT_ONCE: Final = 8
TIMEOUT: Final = 30.0
SHOWN_CONFUSIONS: Final = 5
CELL, COLUMNS, MOST_CELLS = 112, 12, 240


class Labelled(NamedTuple):
    path: Path
    label: int
    source: str


class Read(NamedTuple):
    """What the service said of one image: an answer with `explain`, or the code of a refusal."""

    image: Labelled
    digit: int | None
    is_digit: bool
    refused: str | None
    seen: str | None

    @property
    def is_right(self) -> bool:
        return self.digit == self.image.label


def main(
    url: Annotated[str, typer.Option(help="where the service listens")],
    manifest: Annotated[Path, typer.Option(help="CSV: path,label[,source]")],
    sheet: Annotated[Path, typer.Option(help="where the contact sheet goes")] = Path(
        "failures.png"
    ),
    version: Annotated[int | None, typer.Option(help="not the live version but this one")] = None,
) -> None:
    """Score a live service on labelled images."""
    images = list(read_manifest(manifest))
    read = list(ask(url, images, version))
    typer.echo("\n".join(table(read)))
    wrong = [each for each in read if not each.is_right]
    if wrong:
        contact_sheet(wrong).save(sheet)
        typer.echo(f"\n{len(wrong)} of {len(read)} were not read right; {sheet} shows them.")


def read_manifest(file: Path) -> Iterator[Labelled]:
    """Give what a manifest lists. Raises typer.BadParameter where a row is not as it should be."""
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            try:
                label, path = int(row["label"]), file.parent / row["path"]
            except (KeyError, TypeError, ValueError) as error:
                raise typer.BadParameter(f"{file}, line {number}: path,label[,source]") from error
            if label not in range(10) or not path.is_file():
                raise typer.BadParameter(f"{file}, line {number}: a digit and a file are wanted")
            yield Labelled(path, label, row.get("source") or path.parent.name)


def ask(url: str, images: Sequence[Labelled], version: int | None = None) -> Iterator[Read]:
    """Let the service read the images, a few at once. Raises httpx2.HTTPError."""
    query: dict[str, Any] = {"explain": True} | ({"version": version} if version else {})
    with (
        httpx2.Client(base_url=url, timeout=TIMEOUT) as client,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):

        def read(image: Labelled) -> Read:
            files = {"file": (image.path.name, image.path.read_bytes())}
            answer = client.post("/predict", params=query, files=files)
            told = answer.json()
            if answer.is_success:
                return Read(image, told["digit"], told["is_digit"], None, told["seen"])
            if answer.is_server_error:
                answer.raise_for_status()
            return Read(image, None, False, told["code"], None)

        yield from threads.map(read, images)


def table(read: Iterable[Read]) -> Iterator[str]:
    """Give the lines of a table, a row for each source and one for their mean."""
    ordered = sorted(read, key=lambda each: each.image.source)
    yield "| source | images | read right | looks like a digit | refused | most confused |"
    yield "|---|---|---|---|---|---|"
    shares = []
    for source, group in groupby(ordered, key=lambda each: each.image.source):
        rows = list(group)
        shares.append(sum(each.is_right for each in rows) / len(rows))
        alike = sum(each.is_digit for each in rows) / len(rows)
        refused = Counter(each.refused for each in rows if each.refused)
        told = ", ".join(f"{count} {code}" for code, count in refused.most_common()) or "–"
        yield (
            f"| {source} | {len(rows):,} | {100 * shares[-1]:.2f} % | {100 * alike:.1f} % | {told} "
            f"| {_confused(rows)} |"
        )
    mean = 100 * sum(shares) / len(shares)
    yield f"| **mean of {len(shares)} sources** | | **{mean:.2f} %** | | | |"


def _confused(rows: Sequence[Read]) -> str:
    pairs = Counter(
        (each.image.label, each.digit)
        for each in rows
        if each.digit is not None and not each.is_right
    )
    common = pairs.most_common(SHOWN_CONFUSIONS)
    return ", ".join(f"{label}→{digit} {count} ×" for (label, digit), count in common) or "–"


def contact_sheet(wrong: Sequence[Read]) -> Image.Image:
    """Show uploads beside what the network saw, with the label and the answer."""
    shown = wrong[:MOST_CELLS]
    sheet = Image.new("L", (COLUMNS * CELL, -(-len(shown) // COLUMNS) * CELL), 90)
    draw = ImageDraw.Draw(sheet)
    for place, each in enumerate(shown):
        left, top = place % COLUMNS * CELL, place // COLUMNS * CELL
        paste(sheet, each, (left + 1, top + 1), CELL // 2 - 2)
        answer = each.refused or f"{each.image.label} read as {each.digit}"
        draw.text((left + 2, top + CELL // 2 + 2), answer[:18], 255)
        draw.text((left + 2, top + CELL // 2 + 16), each.image.source[:18], 200)
    return sheet


def paste(sheet: Image.Image, read: Read, place: tuple[int, int], side: int) -> None:
    """Put an upload on a sheet, where it is an image, with what the network saw on its right."""
    left, top = place
    if read.refused == "not_an_image":
        return
    upload = Image.open(read.image.path).convert("RGBA")
    way = Image.Resampling.NEAREST if max(upload.size) < side else Image.Resampling.LANCZOS
    upload = ImageOps.contain(upload, (side, side), way)
    sheet.paste(upload.convert("L"), place, upload)
    if read.seen:
        seen = Image.open(BytesIO(base64.b64decode(read.seen.partition(",")[2])))
        sheet.paste(seen.convert("L").resize((side, side)), (left + side + 1, top))


if __name__ == "__main__":
    typer.run(main)
