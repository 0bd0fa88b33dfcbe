"""What all verbs of the command line need: settings, a console, and how to fail.

What enters: the environment, and words. What leaves: settings, or the end of the command. This
module does not know the verbs.
"""

from typing import TYPE_CHECKING

import typer

from app.config.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from rich.console import Console


def settings() -> Settings:
    """Read the settings, or fail in words."""
    try:
        return load_settings()
    except SettingsError as error:
        raise failure(str(error)) from None


def console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def failure(message: str) -> typer.Exit:
    """Return what went wrong; gives what is to be raised."""
    console(stderr=True).print(message, style="red", markup=False, highlight=False)
    return typer.Exit(2)
