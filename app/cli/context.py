"""Settings, consoles and error messages of the command line."""

from typing import TYPE_CHECKING, Any, Final

import typer

from app.config.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

# Services name routes and query parameters, people type verbs and options.
TERMS: Final = {
    "GET /train": "`mynet jobs`",
    "GET /sweeps": "`mynet sweeps`",
    "GET /feedback": "`mynet feedback`",
    "GET /datasets": "`mynet datasets`",
    "?replace=true": "--replace",
}


# Fields that have no option of their name.
OPTIONS: Final = {"datasets": "--dataset", "file": "the file"}


def settings() -> Settings:
    """Return the settings, or exit with what is wrong with them."""
    try:
        return load_settings()
    except SettingsError as error:
        raise failure(str(error)) from None


def console(*, stderr: bool = False) -> "Console":
    """Return a console; without a terminal its lines are as long as they need to be."""
    from rich.console import Console

    return Console(stderr=stderr)


def print_file_error(file: "Path", error: Exception) -> None:
    """Print why a file could not be read, in red."""
    message = describe(error)
    line = message if str(file) in message else f"{file}: {message}"
    console(stderr=True).print(line, style="red", markup=False, soft_wrap=True)


def read_files(
    files: "Sequence[Path]",
    read: "Callable[[Path], dict[str, Any]]",
    errors: tuple[type[Exception], ...],
) -> "Iterator[tuple[Path, dict[str, Any]]]":
    """Yield each file that can be read, with what it reads as. Print why any other cannot be.

    Raises typer.Exit in the end: 1 if a file could not be read.
    """
    all_read = True
    for file in files:
        try:
            content = read(file)
        except errors as error:
            all_read = False
            print_file_error(file, error)
        else:
            yield file, content
    raise typer.Exit(0 if all_read else 1)


def failure(message: str) -> typer.Exit:
    """Print an error in red, and return the exit to raise."""
    console(stderr=True).print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(2)


def describe(error: Exception) -> str:
    """Return the message of an error from the state folder, a file or a service."""
    if isinstance(error, OSError) and error.filename is not None:
        return _describe_file_error(error)
    if getattr(error, "code", None) == "unauthenticated":
        return f"This service wants a key: --api-key or MYNET_API_KEY. It answers: {error}"
    fields = [_describe_field(field.field, field.message) for field in getattr(error, "errors", ())]
    message = "\n".join(fields) or str(error)
    for route, verb in TERMS.items():
        message = message.replace(route, verb)
    return message


def describe_invalid(details: Any) -> str:
    """Return one line for each hyperparameter that pydantic refuses."""
    return "\n".join(_describe_field(str(detail["loc"][0]), detail["msg"]) for detail in details)


def _describe_field(name: str, message: str) -> str:
    field = name.partition(".")[0]
    option = OPTIONS.get(field) or f"--{field.replace('_', '-')}"
    return f"{option}: {message.removeprefix('Value error, ')}"


def _describe_file_error(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return f"No such file: {error.filename}"
        case FileExistsError():
            return f"This file exists: {error.filename}. Pass --force to replace it."
        case IsADirectoryError():
            return f"This is a folder, and a file is needed: {error.filename}"
        case PermissionError():
            return f"No permission to use {error.filename}."
    return f"{error.filename}: {error.strerror}"
