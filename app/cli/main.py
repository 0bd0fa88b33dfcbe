"""`mynet serve | predict | train | models | keys | db`.

What enters: a command line, and the same settings as the service's. What leaves: a running service,
or answers on the terminal. The client verbs work on the state folder, with a service running on it
or without, or ask the service at `--url`. Heavy modules are imported by the verb that needs them,
so that `--help` is quick.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli import context, db, keys
from app.config.settings import API_KEY, URL
from app.telemetry import logs

if TYPE_CHECKING:
    from app.cli.output import Reader
    from mynet_client import Client

ATTEMPTS = 5  # some seconds for who waits at a terminal
Url = Annotated[
    str | None, typer.Option(envvar=URL, help="Ask the service there, not the state folder.")
]
Key = Annotated[str | None, typer.Option(envvar=API_KEY, help="The key that the service wants.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Read handwritten digits, and train the network that reads them.",
)
app.add_typer(keys.app, name="keys")
app.add_typer(db.app, name="db")


def main() -> None:
    app()


@app.command()
def serve(
    on: Annotated[
        Literal["ray"] | None,
        typer.Option(help="Serve on this engine: the cluster at RAY_ADDRESS."),
    ] = None,
) -> None:
    """Serve predictions and training over HTTP; the settings are environment variables."""
    settings = context.settings()
    logs.configure(settings.log_level, settings.log_format)

    from app.startup import STARTUP_ERRORS

    try:
        if on == "ray":
            _on_ray().run(settings)
        else:
            from app.server import server

            server.run(settings)
    except STARTUP_ERRORS as error:
        raise context.failure(str(error)) from None


def _on_ray() -> ModuleType:
    try:
        from app.on_ray import serving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise context.failure("--on ray needs Ray: pip install '.[ray]'") from None
    return serving


@app.command()
def predict(
    files: list[Path],
    version: Annotated[int | None, typer.Option(help="Ask this version, not the live one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Read the digit in each image file."""
    if url:
        with _remote_client(url, api_key) as client:
            from app.cli import remote

            all_read = remote.predict(client, files, version, as_json=as_json)
    else:
        from app.cli import output
        from app.errors import ServiceError

        all_read = output.predictions(
            files, _reader(version), (ServiceError, OSError), as_json=as_json
        )
    raise typer.Exit(0 if all_read else 1)


@app.command()
def train(
    follow: Annotated[bool, typer.Option("--follow", help="Stay and show the progress.")] = False,
    recipe: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
    seed: int | None = None,
    promote: Annotated[str | None, typer.Option(help="if_better, always or never.")] = None,
    device: str | None = None,
    include_feedback: Annotated[
        bool | None, typer.Option("--include-feedback", help="Train with the corrections, too.")
    ] = None,
    note: str | None = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Train a new version; without options, the documented loop."""
    hyperparameters = _given_hyperparameters(locals())
    if url:
        with _remote_client(url, api_key) as client:
            from app.cli import remote

            succeeded = remote.train(client, hyperparameters, context.console(), follow=follow)
    else:
        succeeded = _train(hyperparameters, follow=follow)
    raise typer.Exit(0 if succeeded else 1)


@app.command()
def models(url: Url = None, api_key: Key = None) -> None:
    """List the versions; the live one is marked."""
    if url:
        with _remote_client(url, api_key) as client:
            from app.cli import remote

            remote.models(client)
        return
    from app.cli import output
    from app.startup import STARTUP_ERRORS, prepare_registry

    try:
        registry = prepare_registry(context.settings())
    except STARTUP_ERRORS as error:
        raise context.failure(str(error)) from None
    output.versions(registry.cards(), registry.current())


def _reader(version: int | None) -> "Reader":
    from app.net import pick_device
    from app.predict.live_model import LiveModel
    from app.predict.predictor import predict_sync
    from app.startup import STARTUP_ERRORS, prepare_registry

    settings = context.settings()
    try:
        live = LiveModel(prepare_registry(settings), pick_device(settings.device))
        live.refresh()
        model = live.get(version)
    except STARTUP_ERRORS as error:
        raise context.failure(str(error)) from None

    def fields(file: Path) -> dict[str, Any]:
        answer = predict_sync(file.read_bytes(), model, settings.max_pixels).answer
        return {**answer._asdict(), "confidence": answer.probabilities[answer.digit]}

    return fields


def _given_hyperparameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters among the options that were given."""
    from pydantic import ValidationError

    from app.train.jobs.hyperparameters import Hyperparameters

    names = Hyperparameters.model_fields
    hyperparameters = {name: options[name] for name in names if options.get(name) is not None}
    try:
        Hyperparameters(**hyperparameters)
    except ValidationError as error:
        raise context.failure(
            "\n".join(_format_error(detail) for detail in error.errors())
        ) from None
    return hyperparameters


def _train(hyperparameters: Mapping[str, Any], *, follow: bool) -> bool:
    from app.cli import follow as following
    from app.startup import STARTUP_ERRORS, prepare_registry
    from app.train.jobs.hyperparameters import Hyperparameters

    settings = context.settings()
    logs.configure("warning", settings.log_format)
    try:
        prepare_registry(settings)  # the shipped versions come first, so that there is one to beat
        return following.train(
            settings, Hyperparameters(**hyperparameters), context.console(), follow=follow
        )
    except STARTUP_ERRORS as error:
        raise context.failure(str(error)) from None


@contextmanager
def _remote_client(url: str, api_key: str | None) -> "Iterator[Client]":
    try:
        from mynet_client import Client, MyNetError
    except ModuleNotFoundError as error:
        raise context.failure(f"--url needs the client: pip install ./client ({error})") from None
    try:
        with Client(url, api_key=api_key, attempts=ATTEMPTS) as client:
            yield client
    except MyNetError as error:
        raise context.failure(str(error)) from None


def _format_error(error: Mapping[str, Any]) -> str:
    option = str(error["loc"][0]).replace("_", "-")
    return f"--{option}: {str(error['msg']).removeprefix('Value error, ')}"
