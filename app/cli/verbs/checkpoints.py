"""`mynet checkpoints`: the weights of a job's epochs, and versions made of them."""

from typing import Annotated

import typer

from app.cli.backend import Fields
from app.cli.groups import Verbs
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, JobId, Url

app = Verbs(help="List the checkpoints of a job, or make one a version.")
COLUMNS = ("epoch", "train loss", "validation loss", "test loss", "accuracy", "bytes")
Epoch = Annotated[int, typer.Argument(min=0, max=999, help="Number of an epoch, from 0.")]


@app.command("list")
def show_all(
    job_id: JobId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """List the epochs of a job whose weights were kept."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        page = backend.checkpoints(job_id)
    if as_json:
        return output.print_json(page)
    empty = "No checkpoints. Keep those of a job with: mynet train --keep-checkpoints"
    output.print_table(COLUMNS, map(_row, page["data"]), empty)


@app.command()
def store(
    job_id: JobId, epoch: Epoch, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Make the weights of an epoch a version. It does not go live."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        card = backend.store_checkpoint(job_id, epoch)
    if as_json:
        return output.print_json(card)
    accuracy = output.percent(card["test_accuracy"])
    typer.echo(f"Version {card['version']} has the weights of epoch {epoch}. It reads {accuracy}.")
    typer.echo(f"Make it live with: mynet promote {card['version']}")


def _row(checkpoint: Fields) -> tuple[str, ...]:
    from app.cli.verbs.jobs import epoch_columns

    return (*epoch_columns(checkpoint), f"{checkpoint['bytes']:,}")
