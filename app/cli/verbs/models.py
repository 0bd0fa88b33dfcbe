"""`mynet models`, `mynet promote` and `mynet rollback`: versions, and which one is live."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import context, options
from app.cli.backend import Fields, Format
from app.cli.files import write
from app.cli.groups import ListByDefault, Verbs
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, Force, Output, Url, Version
from app.train.jobs.hyperparameters import Hyperparameters

app = Verbs(cls=ListByDefault, help="List versions, and show, download, upload or delete one.")
BestOf = Annotated[
    str | None,
    typer.Option(metavar="SWEEP", help="Promote the best version of this sweep.", show_default=""),
]


@app.command("list")
def show_all(as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List versions, oldest first. The live one is marked."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        models = backend.models()
    if as_json:
        return output.print_json(models)
    columns = ("version", "accuracy", "recipe", "made (UTC)", "note")
    rows = (_row(card, is_live=card["version"] == models["current"]) for card in models["data"])
    output.print_table(columns, rows, empty="No versions yet. Train one with: mynet train")


@app.command()
def get(version: Version, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Show a version: its accuracy, and how it was made."""
    with open_backend(url, api_key) as backend:
        card = backend.model(version)
    _show(card, as_json=as_json)


@app.command()
def download(
    version: Version,
    form: Annotated[
        Format,
        typer.Option("--format", help="pt: a PyTorch state dict, as torch.save writes it."),
    ] = "safetensors",
    output: Output = None,
    force: Force = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write a version's weights to a file."""
    with open_backend(url, api_key) as backend:
        weights = backend.weights(version, form)
        write(output or Path(f"mynet-{version}.{form}"), weights, force=force)


@app.command()
def upload(
    file: Annotated[
        Path, typer.Argument(help="A .safetensors file, or a state dict from torch.save.")
    ],
    note: Annotated[
        str | None, typer.Option(help="Text to store with the version.", show_default="none")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a version of a file with weights. It is evaluated, and does not go live."""
    from app.cli import output

    options.checked(Hyperparameters, {"note": note})
    with open_backend(url, api_key) as backend:
        card = backend.upload(file, note)
    if as_json:
        return output.print_json(card)
    version, accuracy = card["version"], output.percent(card["test_accuracy"])
    typer.echo(f"Version {version} reads {accuracy} of the test images right.")
    typer.echo(f"Make it live with: mynet promote {version}")


@app.command()
def delete(version: Version, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a version that is not live. Its number is not used again."""
    with open_backend(url, api_key) as backend:
        backend.delete(version)
    typer.echo(f"Version {version} is deleted.")


def promote(
    version: Annotated[
        int | None, typer.Argument(min=1, help="Number of the version.", show_default=False)
    ] = None,
    best_of: BestOf = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a version the live one: VERSION, or the best of a sweep that has ended."""
    with open_backend(url, api_key) as backend:
        if version is not None and best_of is None:
            card = backend.promote(version)
        elif best_of is not None and version is None:
            card = backend.promote_best(best_of)
        else:
            raise context.failure("Name either a VERSION or --best-of SWEEP.")
    _confirm_live(card, as_json=as_json)


def rollback(as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Make the version live again that was live before. Each call goes one step further back."""
    with open_backend(url, api_key) as backend:
        card = backend.rollback()
    _confirm_live(card, as_json=as_json)


def _confirm_live(card: Fields, *, as_json: bool) -> None:
    from app.cli import output

    if as_json:
        return output.print_json(card)
    accuracy = output.percent(card["test_accuracy"])
    typer.echo(f"Version {card['version']} is live. It reads {accuracy} of the test images right.")


def _row(card: Fields, *, is_live: bool) -> tuple[str, ...]:
    from app.cli import output

    return (
        f"{card['version']}{' live' if is_live else ''}",
        output.percent(card["test_accuracy"]),
        card["recipe"] or card["origin"],
        output.time(card["created_at"]),
        card["note"] or "",
    )


def _show(card: Fields, *, as_json: bool) -> None:
    from app.cli import output

    if as_json:
        return output.print_json(card)
    hyperparameters = {**(card["hyperparameters"] or {}), "note": None}  # it has its own line
    low, high = card["test_accuracy_interval"]
    interval = f"95 %: {output.percent(low)} to {output.percent(high)}"
    output.print_fields(
        {
            "version": str(card["version"]),
            "accuracy": f"{output.percent(card['test_accuracy'])} of the test images ({interval})",
            "test loss": f"{card['test_loss']:.4f}",
            "origin": card["origin"],
            "recipe": card["recipe"],
            "hyperparameters": output.pairs(hyperparameters),
            "made (UTC)": output.time(card["created_at"]),
            "job": card["job"],
            "parent": card["parent"] and str(card["parent"]),
            "device": card["device"],
            "weights digest": card["weights_digest"],
            "note": card["note"],
        }
    )
