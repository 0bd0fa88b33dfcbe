"""`python -m tools.accuracy --url URL --manifest FILE`: how well a live service reads a folder.

The manifest is a CSV file with the columns `path` (relative to its own folder), `label`, and
`source` if there are several. The tool prints a table by source with the confusions, and draws a
contact sheet of the images that the service read wrong.
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

CONCURRENCY: Final = 8
TIMEOUT: Final = 30.0
MAX_CONFUSIONS: Final = 5
CELL, COLUMNS, MAX_CELLS = 112, 12, 240


class LabelledImage(NamedTuple):
    path: Path
    label: int
    source: str


class ScoredImage(NamedTuple):
    """The result for one image: an answer with `explain`, or the code of a refusal."""

    image: LabelledImage
    digit: int | None
    is_digit: bool
    error_code: str | None
    preprocessed: str | None

    @property
    def is_correct(self) -> bool:
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
    results = list(ask(url, images, version))
    typer.echo("\n".join(table(results)))
    wrong = [result for result in results if not result.is_correct]
    if wrong:
        contact_sheet(wrong).save(sheet)
        typer.echo(f"\n{len(wrong)} of {len(results)} were not read right; {sheet} shows them.")


def read_manifest(file: Path) -> Iterator[LabelledImage]:
    """Yield what a manifest lists. Raises typer.BadParameter where a row is not as it should be."""
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            try:
                label, path = int(row["label"]), file.parent / row["path"]
            except (KeyError, TypeError, ValueError) as error:
                raise typer.BadParameter(f"{file}, line {number}: path,label[,source]") from error
            if label not in range(10) or not path.is_file():
                raise typer.BadParameter(f"{file}, line {number}: a digit and a file are wanted")
            yield LabelledImage(path, label, row.get("source") or path.parent.name)


def ask(
    url: str, images: Sequence[LabelledImage], version: int | None = None
) -> Iterator[ScoredImage]:
    """Send the images to the service, a few at once. Raises httpx2.HTTPError."""
    query: dict[str, Any] = {"explain": True} | ({"version": version} if version else {})
    with (
        httpx2.Client(base_url=url, timeout=TIMEOUT) as client,
        ThreadPoolExecutor(CONCURRENCY) as threads,
    ):

        def score(image: LabelledImage) -> ScoredImage:
            files = {"file": (image.path.name, image.path.read_bytes())}
            response = client.post("/predict", params=query, files=files)
            payload = response.json()
            if response.is_success:
                return ScoredImage(
                    image, payload["digit"], payload["is_digit"], None, payload["seen"]
                )
            if response.is_server_error:
                response.raise_for_status()
            return ScoredImage(image, None, False, payload["code"], None)

        yield from threads.map(score, images)


def table(results: Iterable[ScoredImage]) -> Iterator[str]:
    """Yield the lines of a table, a row for each source and one for their mean."""
    ordered = sorted(results, key=lambda result: result.image.source)
    yield "| source | images | read right | looks like a digit | refused | most confused |"
    yield "|---|---|---|---|---|---|"
    shares = []
    for source, group in groupby(ordered, key=lambda result: result.image.source):
        rows = list(group)
        shares.append(sum(result.is_correct for result in rows) / len(rows))
        accepted_share = sum(result.is_digit for result in rows) / len(rows)
        error_counts = Counter(result.error_code for result in rows if result.error_code)
        error_summary = (
            ", ".join(f"{count} {code}" for code, count in error_counts.most_common()) or "–"
        )
        yield (
            f"| {source} | {len(rows):,} | {100 * shares[-1]:.2f} % | {100 * accepted_share:.1f} "
            f"% | {error_summary} "
            f"| {_top_confusions(rows)} |"
        )
    mean = 100 * sum(shares) / len(shares)
    yield f"| **mean of {len(shares)} sources** | | **{mean:.2f} %** | | | |"


def _top_confusions(rows: Sequence[ScoredImage]) -> str:
    pairs = Counter(
        (result.image.label, result.digit)
        for result in rows
        if result.digit is not None and not result.is_correct
    )
    common = pairs.most_common(MAX_CONFUSIONS)
    return ", ".join(f"{label}→{digit} {count} ×" for (label, digit), count in common) or "–"


def contact_sheet(wrong: Sequence[ScoredImage]) -> Image.Image:
    """Show uploads beside what the network saw, with the label and the answer."""
    displayed = wrong[:MAX_CELLS]
    sheet = Image.new("L", (COLUMNS * CELL, -(-len(displayed) // COLUMNS) * CELL), 90)
    draw = ImageDraw.Draw(sheet)
    for index, result in enumerate(displayed):
        left, top = index % COLUMNS * CELL, index // COLUMNS * CELL
        paste(sheet, result, (left + 1, top + 1), CELL // 2 - 2)
        caption = result.error_code or f"{result.image.label} read as {result.digit}"
        draw.text((left + 2, top + CELL // 2 + 2), caption[:18], 255)
        draw.text((left + 2, top + CELL // 2 + 16), result.image.source[:18], 200)
    return sheet


def paste(sheet: Image.Image, result: ScoredImage, place: tuple[int, int], side: int) -> None:
    """Put an upload on a sheet, where it is an image, with what the network saw on its right."""
    left, top = place
    if result.error_code == "not_an_image":
        return
    upload = Image.open(result.image.path).convert("RGBA")
    resampling = Image.Resampling.NEAREST if max(upload.size) < side else Image.Resampling.LANCZOS
    upload = ImageOps.contain(upload, (side, side), resampling)
    sheet.paste(upload.convert("L"), place, upload)
    if result.preprocessed:
        preprocessed = Image.open(BytesIO(base64.b64decode(result.preprocessed.partition(",")[2])))
        sheet.paste(preprocessed.convert("L").resize((side, side)), (left + side + 1, top))


if __name__ == "__main__":
    typer.run(main)
