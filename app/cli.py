"""`mynet serve | predict | train | models`.

What enters: a command line, and the same settings as the service's. What leaves: a running service,
or answers on the terminal. The client verbs work on the state folder, with a service running on it
or without. Heavy modules are imported by the verb that needs them, so that `--help` is quick.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app import logs
from app.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Read handwritten digits, and train the network that reads them.",
)


def main() -> None:
    app()


@app.command()
def serve() -> None:
    """Serve predictions and training over HTTP; the settings are environment variables."""
    settings = _settings()
    logs.configure(settings.log_level, settings.log_format)

    from app import server
    from app.start import CANNOT_SERVE

    try:
        server.run(settings)
    except CANNOT_SERVE as error:
        raise _failure(str(error)) from None


@app.command()
def predict(
    files: list[Path],
    version: Annotated[int | None, typer.Option(help="Ask this version, not the live one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Read the digit in each image file."""
    from app.errors import Refusal
    from app.net import pick_device
    from app.predict.live import Live
    from app.predict.predictor import read
    from app.start import CANNOT_SERVE, open_registry

    settings = _settings()
    try:
        live = Live(open_registry(settings), pick_device(settings.device))
        live.refresh()
        model = live.of(version)
    except CANNOT_SERVE as error:
        raise _failure(str(error)) from None
    failed, out, err = False, _console(), _console(stderr=True)
    for file in files:
        try:
            answer = read(file.read_bytes(), model, settings.max_pixels).answer
        except (Refusal, OSError) as error:
            failed = True
            err.print(f"{file}: {error}", style="red", markup=False)
            continue
        confidence = answer.probabilities[answer.digit]
        if as_json:
            fields = {"file": str(file), **answer._asdict(), "confidence": confidence}
            out.print_json(json.dumps(fields), indent=None)
        else:
            doubt = "" if answer.is_digit else "  does not look like a digit"
            out.print(f"{file}: {answer.digit}  {100 * confidence:.1f} %{doubt}", markup=False)
    raise typer.Exit(1 if failed else 0)


@app.command()
def train(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Stay and show the progress.")] = False,
    recipe: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
    seed: int | None = None,
    promote: Annotated[str | None, typer.Option(help="if_better, always or never.")] = None,
    device: str | None = None,
    note: str | None = None,
) -> None:
    """Train a new version; without options, the documented loop."""
    from pydantic import ValidationError

    from app import follow as following
    from app.start import CANNOT_SERVE, open_registry
    from app.train.hyperparameters import Hyperparameters

    given = {
        name: value for name, value in locals().items() if name in Hyperparameters.model_fields
    }
    asked = {name: value for name, value in given.items() if value is not None}
    try:
        wanted = Hyperparameters(**asked)
    except ValidationError as error:
        raise _failure("\n".join(_in_words(each) for each in error.errors())) from None
    settings = _settings()
    logs.configure("warning", settings.log_format)
    try:
        open_registry(settings)  # the shipped versions come first, so that there is one to beat
        succeeded = following.train(settings, wanted, _console(), follow=follow)
    except CANNOT_SERVE as error:
        raise _failure(str(error)) from None
    raise typer.Exit(0 if succeeded else 1)


@app.command()
def models() -> None:
    """List the versions; the live one is marked."""
    from rich.table import Table

    from app.start import CANNOT_SERVE, open_registry

    try:
        registry = open_registry(_settings())
    except CANNOT_SERVE as error:
        raise _failure(str(error)) from None
    current = registry.current()
    table = Table("version", "accuracy", "recipe", "made", "note")
    for card in registry.cards():
        mark = " live" if card.version == current else ""
        accuracy = f"{100 * card.test_accuracy:.2f} %"
        made = f"{card.created_at:%Y-%m-%d %H:%M}"
        table.add_row(
            f"{card.version}{mark}", accuracy, card.recipe or card.origin, made, card.note or ""
        )
    _console().print(table)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def _settings() -> Settings:
    try:
        return read_settings()
    except SettingsError as error:
        raise _failure(str(error)) from None


def _in_words(error: Mapping[str, Any]) -> str:
    option = str(error["loc"][0]).replace("_", "-")
    return f"--{option}: {str(error['msg']).removeprefix('Value error, ')}"


def _failure(message: str) -> typer.Exit:
    _console(stderr=True).print(message, style="red", markup=False, highlight=False)
    return typer.Exit(2)
