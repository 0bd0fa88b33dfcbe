"""Tables, lists of fields and JSON on the terminal."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Fields = Mapping[str, Any]
UNLIMITED: Final = 100_000  # columns


def print_json(data: Any) -> None:
    """Print data as indented JSON."""
    typer.echo(json.dumps(data, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str = "") -> None:
    """Print a header and one line for each row, or `empty` if there is no row."""
    table = _table(*columns)
    for row in rows:
        table.add_row(*map(_cell, row))
    if table.row_count or not empty:
        _print(table)
    else:
        typer.echo(empty)


def print_fields(fields: Mapping[str, str | None]) -> None:
    """Print a name and a value on each line, without those that have no value."""
    table = _table("", "")
    table.show_header = False
    for name, value in fields.items():
        if value:
            table.add_row(_cell(name, "bold"), _cell(value))
    _print(table)


def print_page(
    page: dict[str, Any],
    columns: Sequence[str],
    row: Callable[[dict[str, Any]], Sequence[str]],
    *,
    empty: str,
    verb: str,
    as_json: bool,
) -> None:
    """Print a page of a list as JSON, or its rows and the command that prints the next page."""
    if as_json:
        return print_json(page)
    print_table(columns, map(row, page["data"]), empty)
    if page["has_more"]:
        typer.echo(f"There are more: {verb} --after {page['data'][-1]['id']}")


def percent(share: float | None) -> str:
    """Return a share of 1 as a percentage; nothing for None."""
    return "" if share is None else f"{100 * share:.2f} %"


def time(timestamp: str | datetime | None) -> str:
    """Return a time to the minute, in UTC; nothing for None."""
    if isinstance(timestamp, str):
        timestamp = datetime.fromisoformat(timestamp)
    return "" if timestamp is None else f"{timestamp:%Y-%m-%d %H:%M}"


def pairs(fields: Fields) -> str:
    """Return names and values in one line, without those that have no value."""
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value is not None)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(text: str, style: str = "") -> Text:
    """Return text for one cell: line breaks and control characters are escaped."""
    printable = (
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
    return Text("".join(printable), style=style)


def _print(table: Table) -> None:
    """Print without trailing spaces. A file or a pipe gets each row on one line."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNLIMITED)
    with console.capture() as capture:
        console.print(table, crop=False)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
