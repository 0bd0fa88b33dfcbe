"""`mynet feedback`: corrections, which are images with their correct label."""

import re
from pathlib import Path
from typing import Annotated

import typer

from app.cli import options
from app.cli.backend import Fields
from app.cli.files import write
from app.cli.groups import ListByDefault, Verbs
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, Force, Limit, Output, Url

app = Verbs(
    cls=ListByDefault,
    help="List, add, download or delete corrections: images with their correct label. "
    "Train with them: mynet train --include-feedback.",
)
CorrectionId = Annotated[
    str, typer.Argument(metavar="CORRECTION", help="Id, as `mynet feedback` shows.")
]
COLUMNS = ("correction", "label", "made (UTC)", "prediction")


@app.command("list")
def show_all(
    after: Annotated[str | None, options.after("correction")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List corrections, newest first."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        page = backend.corrections(after, limit)
    nothing = "No corrections yet. Add one with: mynet feedback add FILE LABEL"
    empty = "No older corrections." if after else nothing
    output.print_page(page, COLUMNS, _row, empty=empty, verb="mynet feedback", as_json=as_json)


def _row(correction: Fields) -> tuple[str, ...]:
    from app.cli import output

    return (
        correction["id"],
        str(correction["label"]) if correction["is_digit"] else "no digit",
        output.time(correction["created_at"]),
        correction["prediction_id"] or "",
    )


def _checked(label: int | None, *, not_a_digit: bool) -> int | None:
    if (label is None) != not_a_digit:
        raise typer.BadParameter("give either a LABEL from 0 to 9 or --not-a-digit")
    return label


def _prediction_id(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise typer.BadParameter("must be up to 64 letters, digits, - and _")
    return value


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="An image file.")],
    label: Annotated[
        int | None,
        typer.Argument(min=0, max=9, show_default="none", help="The digit that the image shows."),
    ] = None,
    not_a_digit: Annotated[
        bool, options.flag("--not-a-digit", "The image shows no digit; instead of a label.")
    ] = False,
    prediction_id: Annotated[
        str | None,
        typer.Option(
            help="Id of the prediction that was wrong.",
            show_default="none",
            callback=_prediction_id,
        ),
    ] = None,
    replace: Annotated[
        bool, options.flag("--replace", "Replace the label if the image has another.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Store an image with the digit that it shows, or with --not-a-digit."""
    from app.cli import output

    label = _checked(label, not_a_digit=not_a_digit)
    with open_backend(url, api_key) as backend:
        correction = backend.correct(file, label, prediction_id, replace=replace)
    if as_json:
        return output.print_json(correction)
    what = f"a {correction['label']}" if correction["is_digit"] else "no digit"
    typer.echo(f"Correction {correction['id']}: the image shows {what}.")


@app.command()
def download(
    correction_id: CorrectionId,
    output: Output = None,
    force: Force = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write the image of a correction to a PNG file."""
    with open_backend(url, api_key) as backend:
        image = backend.corrected_image(correction_id)
        write(output or Path(f"{correction_id}.png"), image, force=force)


@app.command()
def delete(correction_id: CorrectionId, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a correction. Versions that were trained with it stay as they are."""
    with open_backend(url, api_key) as backend:
        backend.delete_correction(correction_id)
    typer.echo(f"Correction {correction_id} is deleted.")
