"""`mynet keys`: API keys, in the database of the state folder.

A running service sees a change within a second. A new key goes to standard output, once; all else,
with a line for the audit log, goes to standard error.
"""

import logging
import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import context
from app.cli.groups import ListByDefault, Verbs
from app.cli.options import AsJson
from app.telemetry import logs

if TYPE_CHECKING:
    from app.auth.keys import KeyStore
    from app.database.tables import Key

app = Verbs(
    cls=ListByDefault,
    help="List, create, rotate or revoke API keys. They are in the state folder's database.",
)
log = logging.getLogger(logs.AUDIT_LOGGER)
TIMES = ("created_at", "expires_at", "revoked_at", "last_used")
COLUMNS = ("id", "name", "scopes", "made (UTC)", "last used (UTC)", "state")


class ScopeName(StrEnum):
    """The names in `app.auth.keys.Scope`, which would load SQLAlchemy for `--help`."""

    PREDICT = "predict"
    TRAIN = "train"
    ADMIN = "admin"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the key's owner.")],
    scope: Annotated[
        list[ScopeName],
        typer.Option(help="What the key allows. admin allows all. May be given several times."),
    ],
    days: Annotated[
        int | None,
        typer.Option(
            min=1, max=36_500, help="Days until the key expires.", show_default="it never expires"
        ),
    ] = None,
) -> None:
    """Create a key, and print it. It cannot be printed again."""
    from app.auth.keys import Scope
    from app.cli.database import open_keys

    with open_keys(with_backup=True) as keys:
        key, full_key = keys.create(name, [Scope(value) for value in scope], days)
        _audit("create", key)
        _print_key(keys, key, full_key)


@app.command("list")
def show_all(as_json: AsJson = False) -> None:
    """List all keys, oldest first."""
    from app.cli import output
    from app.cli.database import open_keys

    with open_keys() as keys:
        rows = keys.all()
    if as_json:
        return output.print_json({"data": [_fields(key) for key in rows]})
    output.print_table(
        COLUMNS,
        (
            (
                *(key.id, key.name, ",".join(key.scopes), output.time(key.created_at)),
                output.time(key.last_used) if key.last_used else "never",
                _state(key),
            )
            for key in rows
        ),
        empty="No keys yet. Create one with: mynet keys create NAME --scope predict",
    )


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id, as `mynet keys` shows.")],
    grace_hours: Annotated[
        int, typer.Option(min=0, max=8760, help="Hours for which the old key stays valid.")
    ] = 24,
) -> None:
    """Create a key with the name, scopes and lifetime of another one, and print it.

    The old key expires after the grace period.
    """
    from app.cli.database import open_keys

    with open_keys(with_backup=True) as keys:
        key, full_key = keys.rotate(key_id, 3600 * grace_hours)
        _audit("rotate", key)
        _print_key(keys, key, full_key)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id, as `mynet keys` shows.")],
) -> None:
    """Revoke a key. A running service refuses it within a second."""
    from app.cli.database import open_keys

    with open_keys(with_backup=True) as keys:
        key = keys.revoke(key_id)
        _audit("revoke", key)


def _print_key(keys: "KeyStore", key: "Key", full_key: str) -> None:
    """Print a new key. If it cannot be printed, revoke it."""
    try:
        if sys.stdout is None:  # typer would print nothing, and raise nothing
            raise OSError("it is closed")
        typer.echo(full_key)
    except OSError as error:
        keys.revoke(key.id)
        _audit("revoke", key)
        _silence_stdout()
        message = f"Standard output cannot be written ({error}): key {key.id} is revoked."
        raise context.failure(message) from None


def _silence_stdout() -> None:
    """Discard the output that is still buffered: Python's own flush at exit would fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fields(key: "Key") -> dict[str, Any]:
    times = {name: getattr(key, name) for name in TIMES}
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        **{name: time and time.isoformat() for name, time in times.items()},
    }


def _state(key: "Key") -> str:
    from app.auth.keys import is_valid
    from app.cli import output

    if key.revoked_at:
        return f"revoked {output.time(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    return f"{'valid until' if is_valid(key) else 'expired'} {output.time(key.expires_at)}"


def _audit(action: str, key: "Key") -> None:
    actor, scopes = f"user {os.getuid()} on the command line", ",".join(key.scopes)
    fields = {"who": actor, "what": action, "key": key.id, "name": key.name, "scopes": scopes}
    message = "%s key %s (%s; %s) by %s"
    log.info(message, action, key.id, key.name, scopes, actor, extra=logs.extra_fields(**fields))
