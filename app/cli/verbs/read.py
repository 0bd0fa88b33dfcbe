"""`mynet read`: all digits in each image file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import context
from app.cli.opening import open_backend
from app.cli.options import ApiKey, Url, flag


def read(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Image files.")],
    version: Annotated[
        int | None, typer.Option(help="Version that reads the digits.", show_default="the live one")
    ] = None,
    as_json: Annotated[bool, flag("--json", "Print one JSON object a line.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Read all digits in each image file, line by line. Exit 1 if a file cannot be read."""
    with open_backend(url, api_key) as backend:
        read_file = backend.lines_reader(version)
        for file, reading in context.read_files(files, read_file, backend.errors):
            _print(file, reading, as_json=as_json, with_name=len(files) > 1)


def _print(file: Path, reading: dict[str, Any], *, as_json: bool, with_name: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"file": str(file), **reading}))
        return
    for line in reading["lines"]:
        unlike = sum(not digit["is_digit"] for digit in line["digits"])
        warning = f"  {unlike} of them do not look like digits" if unlike else ""
        typer.echo(f"{file}: {line['text']}{warning}" if with_name else f"{line['text']}{warning}")
