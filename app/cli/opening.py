"""Open what a verb works on: the state folder, or the service at `--url`."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from app.cli import context
from app.cli.backend import Backend
from app.config.secret_files import read_secret
from app.config.settings import API_KEY_FILE

SCHEMES: Final = ("http://", "https://")


@contextmanager
def open_backend(url: str | None, api_key: str | None) -> Iterator[Backend]:
    """Open the service at `url`, or the state folder without one. Exit 2 if it raises an error."""
    backend = _remote_service(url, api_key) if url else _state_folder()
    try:
        with closing(backend):
            yield backend
    except BrokenPipeError:  # the reader of standard output has ended, as `head` does
        raise
    except backend.errors as error:
        raise context.failure(context.describe(error)) from None


def _remote_service(url: str, api_key: str | None) -> Backend:
    if not url.startswith(SCHEMES):
        raise context.failure(f"--url {url}: write http://{url}")
    try:
        from app.cli.remote import RemoteService
    except ModuleNotFoundError as error:
        raise context.failure(
            f"--url needs the client package: pip install ./client ({error})"
        ) from None
    return RemoteService(url, api_key or _key_from_file())


def _key_from_file() -> str | None:
    """Return the key in the file that `MYNET_API_KEY_FILE` names, or None. Exit 2 without it."""
    file = os.environ.get(API_KEY_FILE)
    if not file:
        return None
    try:
        return read_secret(API_KEY_FILE, file)
    except ValueError as error:
        raise context.failure(str(error)) from None


def _state_folder() -> Backend:
    from app.cli.state_folder import StateFolder

    return StateFolder(context.settings())
