"""Files that verbs download."""

from pathlib import Path

import typer


def write(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file, and print its name. Raises FileExistsError unless `force`, OSError."""
    with path.open("wb" if force else "xb") as file:
        file.write(content)
    typer.echo(str(path))
