"""`mynet keys create | list | revoke`.

What enters: a command line. What leaves: keys in the state folder's database, where a running
service sees them within a second. A key is written to standard output, once; all else to standard
error, with a line for the audit.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.auth.keys import Scope
from app.cli import context
from app.telemetry import logs

if TYPE_CHECKING:
    from app.auth.keys import KeyStore
    from app.database.tables import Key

app = typer.Typer(no_args_is_help=True, help="Say who may ask for what: keys, and their scopes.")
log = logging.getLogger(logs.AUDIT_LOGGER)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, to know it again.")],
    scope: Annotated[list[Scope], typer.Option(help="What it opens; may be given repeatedly.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="It ends after these.")
    ] = None,
) -> None:
    """Make a key, and show it: only this once."""
    with _keys(with_backup=True) as keys:
        key, whole = keys.create(name, scope, days)
        _audit("create", key)
        _show(keys, key, whole)


@app.command("list")
def show() -> None:
    """List the keys that were made, oldest first."""
    with _keys() as keys:
        for key in keys.all():
            scopes = ",".join(key.scopes)
            created = f"{key.created_at:%Y-%m-%d %H:%M}"
            typer.echo(f"{key.id}  {key.name}  {scopes}  {created}  {_state(key)}")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
) -> None:
    """Let a key open nothing any more; a running service knows within a second."""
    with _keys(with_backup=True) as keys:
        key = keys.revoke(key_id)
        _audit("revoke", key)


@contextmanager
def _keys(*, with_backup: bool = False) -> "Iterator[KeyStore]":
    """Open the keys. What is to be kept is in the database's backup, too, by the end: perhaps no
    service runs that would see to it.
    """
    from app.auth.keys import KeyStore
    from app.startup import STARTUP_ERRORS, open_database

    settings = context.settings()
    logs.configure(settings.log_level, settings.log_format)
    try:
        with closing(open_database(settings)) as database:
            yield KeyStore(database)
            if with_backup and database.backup:
                database.backup.back_up()
    except STARTUP_ERRORS as error:
        raise context.failure(str(error)) from None


def _show(keys: "KeyStore", key: "Key", whole: str) -> None:
    """Print a key that was made. Where nobody can have seen it, it opens nothing."""
    try:
        if sys.stdout is None:  # nothing would be printed, and nothing said
            raise OSError("it is closed")
        typer.echo(whole)
    except OSError as error:
        keys.revoke(key.id)
        _audit("revoke", key)
        _silence_stdout()
        said = f"Standard output cannot be written ({error}): key {key.id} is revoked."
        raise context.failure(said) from None


def _silence_stdout() -> None:
    """Discard what waits to be printed: to try again at the end would fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _state(key: "Key") -> str:
    from app.auth.keys import is_valid

    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    if key.expires_at is None:
        return "valid"
    return f"{'valid until' if is_valid(key) else 'expired'} {key.expires_at:%Y-%m-%d %H:%M}"


def _audit(what: str, key: "Key") -> None:
    actor, scopes = f"user {os.getuid()} on the command line", ",".join(key.scopes)
    fields = {"who": actor, "what": what, "key": key.id, "name": key.name, "scopes": scopes}
    words = "%s key %s (%s; %s) by %s"
    log.info(words, what, key.id, key.name, scopes, actor, extra=logs.extra_fields(**fields))
