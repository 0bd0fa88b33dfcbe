"""`mynet settings`: the value, the default and the meaning of each setting."""

from typing import Any

from app.cli import context
from app.cli.options import AsJson
from app.config.settings import PREFIX, Settings

COLUMNS = ("setting", "value", "default", "meaning")


def settings(as_json: AsJson = False) -> None:
    """Show each setting: value, default and meaning. Secrets are masked.

    Settings are environment variables, or lines of the file .env in the working directory.
    """
    from app.cli import output
    from app.server.displayed_settings import displayed_settings

    values = displayed_settings(context.settings())
    rows = [
        {
            "name": f"{PREFIX}{name.upper()}",
            "value": values[name],
            "default": _plain(field.default),
            "description": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        return output.print_json({"data": rows})
    output.print_table(COLUMNS, ([_text(value) for value in row.values()] for row in rows))


def _plain(value: Any) -> Any:
    """Return a number, a truth value, a text or None: what JSON can hold."""
    return value if isinstance(value, int | float | None) else str(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
