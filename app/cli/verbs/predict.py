"""`mynet predict`: the digit in each image file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import context
from app.cli.opening import open_backend
from app.cli.options import ApiKey, Url, flag


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
    all_read = True
    with open_backend(url, api_key) as backend:
        read, errors = backend.reader(version), context.console(stderr=True)
        for file in files:
            try:
                prediction = read(file)
            except backend.errors as error:
                all_read = False
                message = context.describe(error)
                line = message if str(file) in message else f"{file}: {message}"
                errors.print(line, style="red", markup=False, soft_wrap=True)
                continue
            _print(file, prediction, as_json=as_json)
    raise typer.Exit(0 if all_read else 1)


def _print(file: Path, prediction: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"file": str(file), **prediction}))
        return
    warning = "" if prediction["is_digit"] else "  does not look like a digit"
    confidence = f"{100 * prediction['confidence']:.1f} %"
    typer.echo(f"{file}: {prediction['digit']}  {confidence}{warning}")
