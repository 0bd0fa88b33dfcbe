"""The operations that verbs ask for: on the state folder, or by a service over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from app.cli import context

Fields = dict[str, Any]
"""An answer as the HTTP API gives it, in the types of JSON."""
Format = Literal["safetensors", "pt", "onnx"]
SCHEMES: Final = ("http://", "https://")


class Backend(Protocol):
    """MyNet, as the command line uses it. Every method may raise one of `errors`."""

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...

    def reader(self, version: int | None) -> Callable[[Path], Fields]:
        """Return what reads the digit in a file, with the live version for None."""

    def train(self, hyperparameters: Fields) -> Fields: ...
    def supervision(self) -> AbstractContextManager[object]:
        """Return a context in which queued jobs run."""

    def is_supervised(self) -> bool:
        """Return whether a service runs queued jobs."""

    def jobs(self, status: str | None, after: str | None, limit: int) -> Fields: ...
    def job(self, job_id: str) -> Fields: ...
    def pause(self, job_id: str) -> Fields: ...
    def resume(self, job_id: str) -> Fields: ...
    def cancel(self, job_id: str) -> Fields: ...
    def log(self, job_id: str) -> list[str]: ...
    def events(self, job_id: str) -> Iterator[tuple[str, Fields]]:
        """Yield each event of a job as its kind and its data, until the job has ended."""

    def start_sweep(self, grid: Fields) -> Fields: ...
    def sweeps(self, after: str | None, limit: int) -> Fields: ...
    def sweep(self, sweep_id: str) -> Fields: ...
    def cancel_sweep(self, sweep_id: str) -> Fields: ...

    def models(self) -> Fields: ...
    def model(self, version: int) -> Fields: ...
    def promote(self, version: int) -> Fields: ...
    def promote_best(self, sweep_id: str) -> Fields: ...
    def rollback(self) -> Fields: ...
    def upload(self, file: Path, note: str | None) -> Fields: ...
    def weights(self, version: int, form: Format) -> bytes: ...
    def delete(self, version: int) -> None: ...

    def corrections(self, after: str | None, limit: int) -> Fields: ...
    def correct(
        self, file: Path, label: int, prediction_id: str | None, *, replace: bool
    ) -> Fields: ...
    def corrected_image(self, correction_id: str) -> bytes: ...
    def delete_correction(self, correction_id: str) -> None: ...
    def close(self) -> None: ...


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
    return RemoteService(url, api_key)


def _state_folder() -> Backend:
    from app.cli.state_folder import StateFolder

    return StateFolder(context.settings())
