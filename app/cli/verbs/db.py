"""`mynet db current | upgrade`: the revision of the database's schema.

For operators who migrate by hand (`MYNET_DATABASE_MIGRATE=false`).
"""

import typer

from app.cli import context
from app.cli.groups import Verbs
from app.cli.options import AsJson

app = Verbs(no_args_is_help=True, help="Show the schema of the database, or migrate it.")


@app.command()
def current(as_json: AsJson = False) -> None:
    """Show the revision of the database. Exit 1 if a service could not use it as it is."""
    from app.cli import output
    from app.startup import STARTUP_ERRORS, read_schema_status

    try:
        status = read_schema_status(context.settings())
    except STARTUP_ERRORS as error:
        raise context.failure(context.describe(error)) from None
    if as_json:
        fields = {"database": status.revision, "code": status.needed, "problem": status.problem}
        output.print_json(fields)
    else:
        typer.echo(f"database: {status.revision or 'none'}")
        typer.echo(f"code: {status.needed}")
        if status.problem:
            typer.echo(status.problem)
    raise typer.Exit(1 if status.problem else 0)


@app.command()
def upgrade() -> None:
    """Migrate the database to the revision of this code. Stop older services first."""
    from app.cli.database import migrate

    migration = migrate()
    if migration is None:
        typer.echo("There is nothing to migrate.")
        return
    typer.echo(f"The database had revision {migration.before}, and has {migration.after}.")
    if migration.copy:
        typer.echo(f"As it was before: {migration.copy}")
