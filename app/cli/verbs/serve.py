"""`mynet serve`: the service, until a signal ends it."""

import gc
import logging
import os
from contextlib import nullcontext
from importlib.metadata import version as version_of
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer

from app.cli import context
from app.config.settings import PREFIX, Settings
from app.decoders import template_process
from app.telemetry import logs

log = logging.getLogger(__name__)


def _setting(name: str, minimum: int | None = None, maximum: int | None = None) -> Any:
    """Return the option that overrides a setting, with the setting's meaning and default."""
    field, variable = Settings.model_fields[name], f"{PREFIX}{name.upper()}"
    meaning = (field.description or "").replace("`", "")
    default = "unset" if field.default is None else str(field.default)
    return typer.Option(
        help=f"{variable}: {meaning}.", show_default=default, min=minimum, max=maximum
    )


def serve(
    host: Annotated[str | None, _setting("host")] = None,
    port: Annotated[int | None, _setting("port", minimum=0, maximum=65535)] = None,
    workers: Annotated[int | None, _setting("workers", minimum=1, maximum=64)] = None,
    device: Annotated[str | None, _setting("device")] = None,
    train_device: Annotated[str | None, _setting("train_device")] = None,
    state_dir: Annotated[Path | None, _setting("state_dir")] = None,
    data_dir: Annotated[Path | None, _setting("data_dir")] = None,
    checkpoint: Annotated[Path | None, _setting("checkpoint")] = None,
    auth: Annotated[Literal["none", "predict", "keys"] | None, _setting("auth")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, _setting("log_level")
    ] = None,
    log_format: Annotated[Literal["text", "json"] | None, _setting("log_format")] = None,
    on: Annotated[
        Literal["ray"] | None,
        typer.Option(help="Serve on Ray: the cluster at RAY_ADDRESS.", show_default="this process"),
    ] = None,
) -> None:
    """Serve predictions and training over HTTP, until SIGTERM or SIGINT.

    An option overrides the environment variable that its help names. There are more variables:
    `mynet settings` shows all.
    """
    options = {name: value for name, value in locals().items() if name in Settings.model_fields}
    _override_environment(options)
    settings = context.settings()
    logs.configure(settings.log_level, settings.log_format)
    try:
        if on == "ray":
            _ray_serving().run(settings)
        else:
            _serve(settings)
    except _startup_errors() as error:
        raise context.failure(str(error)) from None


def _startup_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a start. Imported when one is raised, so that nothing waits for it."""
    from app.startup import STARTUP_ERRORS

    return STARTUP_ERRORS


def _override_environment(options: dict[str, Any]) -> None:
    """Set the variables of the options, which worker processes inherit."""
    for name, value in options.items():
        variable = f"{PREFIX}{name.upper()}"
        if value is not None:
            for other in [other for other in os.environ if other.upper() == variable]:
                del os.environ[other]
            os.environ[variable] = str(value)


def _serve(settings: Settings) -> None:
    # Several workers are processes of their own, and so are their decoders.
    with template_process.started_early() if settings.workers == 1 else nullcontext():
        _import_server(settings.workers)
        from app.server import server

        server.run(settings, _announce)


def _import_server(workers: int) -> None:
    """Import the server, and the app if it will run in this process, without garbage collections.

    The imports make 200,000 objects that stay. To look through them again and again would take a
    tenth of the start.
    """
    gc.disable()
    try:
        import app.server.server

        if workers == 1:
            import app.main  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def _ray_serving() -> ModuleType:
    try:
        from app.on_ray import serving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise context.failure("--on ray needs Ray: pip install '.[ray]'") from None
    return serving


def _announce(settings: Settings) -> None:
    """Print the address, the live version, the device and where state lies.

    With JSON logs, log one line instead: a parser of the logs could not read the block.
    """
    fields = _summary(settings)
    if settings.log_format == "json":
        values = " ".join(f"{name}={value}" for name, value in fields.items())
        log.info("prepared: %s", values, extra=logs.extra_fields(**fields))
        return
    address = fields.pop("url", "the address that the log names")
    typer.echo(f"MyNet {version_of('mynet')}: open {address}")
    for name, value in fields.items():
        typer.echo(f"  {name.replace('_', ' '):14}{value}")


def _summary(settings: Settings) -> dict[str, Any]:
    from app.devices import pick_device
    from app.server.displayed_settings import displayed_settings
    from app.versions.opening import open_registry

    displayed = displayed_settings(settings)
    summary = {
        "url": _url(settings),
        "live_version": open_registry(settings).current(),
        "device": pick_device(settings.device),
        "state_folder": str(settings.state_dir.absolute()),
        "database": displayed["database_url"],
        "versions": displayed["models_url"],
    }
    return {name: value for name, value in summary.items() if value is not None}


def _url(settings: Settings) -> str | None:
    """Return the address for a browser on this machine; None if the system chooses the port."""
    if settings.uds:
        return f"unix:{settings.uds.absolute()}"
    if settings.port == 0:
        return None
    first = settings.hosts[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"
