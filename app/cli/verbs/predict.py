"""`mynet predict`: the digit in each image file."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app.cli import context
from app.cli.opening import open_backend
from app.cli.options import ApiKey, Url, flag

WARNINGS: Final = {
    None: "",
    "not_a_digit": "  does not look like a digit",
    "several_digits": "  is one of {count} digits: read them all with `mynet read`",
}


def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Image files.")],
    version: Annotated[
        int | None, typer.Option(help="Version that reads the digits.", show_default="the live one")
    ] = None,
    as_json: Annotated[bool, flag("--json", "Print one JSON object a line.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Read the digit in each image file. Exit 1 if a file cannot be read."""
    with open_backend(url, api_key) as backend:
        read = backend.reader(version)
        for file, prediction in context.read_files(files, read, backend.errors):
            _print(file, prediction, as_json=as_json)


def _print(file: Path, prediction: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"file": str(file), **prediction}))
        return
    # A service older than the field `reason` knows no other one.
    reason = None if prediction["is_digit"] else prediction.get("reason") or "not_a_digit"
    warning = WARNINGS[reason].format(count=prediction.get("count"))
    confidence = f"{100 * prediction['confidence']:.1f} %"
    typer.echo(f"{file}: {prediction['digit']}  {confidence}{warning}")
