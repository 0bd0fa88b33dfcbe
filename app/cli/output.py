"""What the terminal shows of predictions, versions and trainings.

What enters: answers, from the state folder or from a service elsewhere. What leaves: lines, a table
and a bar. This module does not know where answers come from.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

Fields = Mapping[str, Any]
Reader = Callable[[Path], Fields]


class Version(Protocol):
    """What is shown of a card."""

    @property
    def version(self) -> int: ...
    @property
    def test_accuracy(self) -> float: ...
    @property
    def recipe(self) -> str | None: ...
    @property
    def origin(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def note(self) -> str | None: ...


def predictions(
    files: Iterable[Path], read: Reader, refusals: tuple[type[Exception], ...], *, as_json: bool
) -> bool:
    """Show what `read` gives for each file, or why it refuses. Says whether all was read."""
    all_read, out, err = True, Console(), Console(stderr=True)
    for file in files:
        try:
            prediction = read(file)
        except refusals as error:
            all_read = False
            err.print(f"{file}: {error}", style="red", markup=False)
            continue
        if as_json:
            out.print_json(json.dumps({"file": str(file), **prediction}), indent=None)
        else:
            doubt = "" if prediction["is_digit"] else "  does not look like a digit"
            line = f"{file}: {prediction['digit']}  {100 * prediction['confidence']:.1f} %{doubt}"
            out.print(line, markup=False)
    return all_read


def versions(cards: Iterable[Version], current: int | None) -> None:
    """Show a table; the live version is marked."""
    table = Table("version", "accuracy", "recipe", "made", "note")
    for card in cards:
        mark = " live" if card.version == current else ""
        accuracy = f"{100 * card.test_accuracy:.2f} %"
        created = f"{card.created_at:%Y-%m-%d %H:%M}"
        table.add_row(
            f"{card.version}{mark}", accuracy, card.recipe or card.origin, created, card.note or ""
        )
    Console().print(table)


def progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
    )


class JobProgressBar:
    """A training's bar, with loss and time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=1.0, left="")

    def on_event(self, kind: str, data: Fields) -> None:
        """Show an event."""
        if kind == "epoch":
            accuracy = 100 * data["test_accuracy"]
            self._progress.print(f"epoch {data['epoch']}: {accuracy:.2f} % of the test images")
        elif kind == "batch":
            description = f"epoch {data['epoch']}, loss {data['loss']:.4f}"
            self._progress.update(self._task, description=description)

    def update(self, status: str, reached: Fields | None) -> None:
        """Show how far the job is."""
        if reached:
            left = f"{reached['eta']:.0f} s left"
            self._progress.update(self._task, completed=reached["fraction"], left=left)
        if status != "running":
            self._progress.update(self._task, description=status)


def ended(console: Console, status: str, result: Fields | None, error: Fields | None) -> bool:
    """Return how a job ended, and whether well."""
    if status != "succeeded" or not result:
        console.print(f"{status}: {error['message'] if error else ''}", markup=False)
        return False
    live = "is live" if result["promoted"] else "does not go live"
    console.print(f"version {result['version']} {live}: {result['reason']}", markup=False)
    return True
