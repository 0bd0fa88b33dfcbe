"""The command `mynet`.

Verbs import heavy modules when they run, so that `--help` is quick. They work on the state folder,
or ask a service at `--url`.
"""

from importlib.metadata import version as version_of
from typing import Annotated, Final

import typer

from app.cli.groups import Verbs
from app.cli.verbs import (
    checkpoints,
    datasets,
    db,
    feedback,
    jobs,
    keys,
    models,
    predict,
    read,
    serve,
    settings,
    sweeps,
    train,
)

SERVE: Final = "Serve and predict"
TRAIN: Final = "Train"
VERSIONS: Final = "Choose the live version"
ADMINISTER: Final = "Administer"

app = Verbs(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Read handwritten digits, and train the network that reads them.",
    epilog="Without --url, verbs work on the state folder (MYNET_STATE_DIR), with or without a "
    "running service.",
)
app.command(rich_help_panel=SERVE)(serve.serve)
app.command(rich_help_panel=SERVE)(predict.predict)
app.command(rich_help_panel=SERVE)(read.read)
app.add_typer(feedback.app, name="feedback", rich_help_panel=SERVE)
app.add_typer(datasets.app, name="datasets", rich_help_panel=TRAIN)
app.add_typer(jobs.app, name="jobs", rich_help_panel=TRAIN)
for verb in (train.train, jobs.job, jobs.pause, jobs.resume, jobs.cancel):
    app.command(rich_help_panel=TRAIN)(verb)
app.add_typer(checkpoints.app, name="checkpoints", rich_help_panel=TRAIN)
app.command("sweep", rich_help_panel=TRAIN)(sweeps.show)
app.add_typer(sweeps.app, name="sweeps", rich_help_panel=TRAIN)
app.command(rich_help_panel=VERSIONS)(models.promote)
app.command(rich_help_panel=VERSIONS)(models.rollback)
app.add_typer(models.app, name="models", rich_help_panel=VERSIONS)
app.add_typer(keys.app, name="keys", rich_help_panel=ADMINISTER)
app.add_typer(db.app, name="db", rich_help_panel=ADMINISTER)
app.command(rich_help_panel=ADMINISTER)(settings.settings)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"mynet {version_of('mynet')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version, and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


def main() -> None:
    """Run the command line."""
    app()
