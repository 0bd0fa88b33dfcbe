"""`mynet db current | upgrade`.

What enters: a command line. What leaves: which revision the database has, or a database at that of
this code, for operators who migrate by hand (`MYNET_DATABASE_MIGRATE=false`).
"""

from contextlib import closing

import typer

from app.cli import context
from app.telemetry import logs

app = typer.Typer(no_args_is_help=True, help="Look at the database's schema, or migrate it.")


@app.command()
def current() -> None:
    """Say which revision the database has; exit 1 where a service could not use it as it is."""
    from app.startup import STARTUP_ERRORS, read_schema_status

    settings = context.settings()
    try:
        status = read_schema_status(settings)
    except STARTUP_ERRORS as error:
        raise context.failure(str(error)) from None
    typer.echo(f"database: {status.revision or 'none'}")
    typer.echo(f"code: {status.needed}")
    if status.problem:
        typer.echo(status.problem)
    raise typer.Exit(1 if status.problem else 0)


@app.command()
def upgrade() -> None:
    """Bring the database to the revision of this code; stop older services first."""
    from app.startup import STARTUP_ERRORS, open_database

    settings = context.settings()
    logs.configure(settings.log_level, settings.log_format)
    by_hand = settings.model_copy(update={"database_migrate": True})
    try:
        with closing(open_database(by_hand, migrate=True)) as database:
            done = database.schema.migrated
    except STARTUP_ERRORS as error:
        raise context.failure(str(error)) from None
    if done is None:
        typer.echo("There is nothing to migrate.")
        return
    typer.echo(f"The database had revision {done.before}, and has {done.after}.")
    if done.copy:
        typer.echo(f"As it was before: {done.copy}")
