"""Import of weights from files, validated in a separate process (server side).

`app.weights_import.worker` is that process. It keeps pickles, and the libraries that evaluation
loads, out of the server. It has no secrets and stores nothing: it returns the weights.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final, cast

from filelock import AsyncFileLock, FileLock, Timeout
from pydantic import ValidationError

from app.atomic_files import TEMPORARY, make_folder, remove_temporary_files
from app.config.settings import Settings
from app.errors import FieldError, InvalidField, MalformedRequest, NotReady, QueueFull, ServiceError
from app.net import InvalidWeights
from app.sandbox.environment import allowed_environment
from app.subprocesses import EXIT_TIMEOUT, lower_priority, popen_kwargs
from app.versions.card import Card
from app.versions.registry import Registry
from app.weights_import.messages import READING, RESULT, Evaluation, ImportRequest, Refusal
from app.weights_import.store import Origin, check_returned_weights, store_version, version_with

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-m", "app.weights_import.worker")
IMPORT_TIMEOUT: Final = 300.0
LOCK_TIMEOUT: Final = 30.0
LOCK_FILE: Final = ".lock"
# Signals that end the process if a file exceeds its limits or crashes its libraries. SIGKILL is not
# one of them: the system may have run out of memory for other reasons.
CRASH_SIGNALS: Final = {
    -signal.SIGXCPU,
    -signal.SIGSEGV,
    -signal.SIGBUS,
    -signal.SIGABRT,
    -signal.SIGFPE,
}
ERRORS_BY_CODE: Final = {error.code: error for error in (MalformedRequest, InvalidField, NotReady)}


async def import_upload(
    settings: Settings, registry: Registry, content: bytes, note: str | None
) -> Card:
    """Store an upload as a new version, and return its card. Uploads are imported one at a time.

    Raises QueueFull, and the errors of `import_checkpoint`.
    """
    if not content:
        raise MalformedRequest(
            "The body is empty. Send a .safetensors file or a state dict saved by torch.save, "
            "as the body or as the multipart field `file`."
        )
    async with _upload_lock(settings.uploads_dir) as folder, _import_process() as process:
        with NamedTemporaryFile(dir=folder, prefix=".", suffix=TEMPORARY) as file:
            await asyncio.to_thread(_fill, file, content)
            path = Path(file.name)
            return await _import_in(process, settings, registry, path, "uploaded", note)


async def import_checkpoint(settings: Settings, registry: Registry, path: Path, note: str) -> int:
    """Validate, evaluate and store a file, and return the number of its version.

    A version that has the same weights already is returned instead.

    Raises MalformedRequest if the file cannot be read, InvalidField if its weights are not MyNet's,
    NotReady if MNIST is unavailable or the process died.
    """
    async with _import_process() as process:
        card = await _import_in(process, settings, registry, path, "checkpoint", note)
    return card.version


def remove_temporary_uploads(folder: Path) -> None:
    """Delete the files of interrupted uploads, unless another process is importing one."""
    make_folder(folder)
    with suppress(Timeout), FileLock(folder / LOCK_FILE, timeout=0):
        remove_temporary_files(folder)


@asynccontextmanager
async def _upload_lock(folder: Path) -> AsyncIterator[Path]:
    make_folder(folder)
    lock = AsyncFileLock(folder / LOCK_FILE, timeout=LOCK_TIMEOUT)
    try:
        await lock.acquire()
    except Timeout:
        raise QueueFull(
            "Another file is being imported. Try again later.", retry_after=int(LOCK_TIMEOUT)
        ) from None
    try:
        remove_temporary_files(folder)
        yield folder
    finally:
        await lock.release()


def _fill(file: IO[bytes], content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())  # reports a full disk now, and not during the import


@asynccontextmanager
async def _import_process() -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=PIPE, stdout=PIPE, **popen_kwargs(allowed_environment())
    )
    lower_priority(process.pid)
    try:
        yield process
    finally:
        await _kill(process)


async def _kill(process: Process) -> None:
    """Kill a process with its children, and discard what it has written.

    `Process.wait` waits for the end of the output, which never comes while that is not read.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    cast(StreamWriter, process.stdin).close()
    with suppress(TimeoutError):  # a child may have left the group, and hold the pipe open
        async with asyncio.timeout(EXIT_TIMEOUT):
            await process.communicate()


async def _import_in(
    process: Process,
    settings: Settings,
    registry: Registry,
    path: Path,
    origin: Origin,
    note: str | None,
) -> Card:
    evaluation, content = await _evaluate_in(process, settings, path)

    def store() -> Card:
        weights = check_returned_weights(content)
        existing = version_with(registry, weights) if origin == "checkpoint" else None
        if existing is not None:
            return registry.card(existing)
        return store_version(settings, registry, weights, evaluation, origin, note)

    try:
        return await asyncio.to_thread(store)
    except InvalidWeights as error:
        raise _invalid_result(str(error)) from None


async def _evaluate_in(
    process: Process, settings: Settings, path: Path
) -> tuple[Evaluation, bytes]:
    """Send the request to the process. It exits when this side closes the pipe."""
    request = ImportRequest(
        path=path,
        data_dir=settings.data_dir,
        threads=settings.effective_train_threads,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    cast(StreamWriter, process.stdin).write(request.model_dump_json().encode() + b"\n")
    stdout = cast(StreamReader, process.stdout)
    is_reading = False
    try:
        async with asyncio.timeout(IMPORT_TIMEOUT):
            line = await stdout.readline()
            if line.strip() == READING:
                is_reading, line = True, await stdout.readline()
            if line:
                return await _receive(stdout, line)
            code = await process.wait()
    except TimeoutError:
        raise NotReady(
            f"The file was not imported within {IMPORT_TIMEOUT:.0f} s. Try again later."
        ) from None
    except ValueError as error:  # readline: the line is longer than the buffer
        raise _invalid_result(str(error)) from None
    if is_reading and code in CRASH_SIGNALS:
        raise MalformedRequest(
            "The file could not be loaded: it exceeded the time or memory limit, or crashed "
            "the loader. Send the weights as a .safetensors file."
        )
    raise NotReady(
        f"The file was not imported: the import process ended with exit code {code}. "
        "Try again; the service's log may have the cause.",
        retry_after=int(LOCK_TIMEOUT),
    )


async def _receive(stdout: StreamReader, line: bytes) -> tuple[Evaluation, bytes]:
    """Return the result in this line, and the weights that follow it. Raises the refusal."""
    try:
        result = RESULT.validate_json(line)
    except ValidationError as error:
        raise _invalid_result(f"{error.error_count()} values are invalid") from None
    if isinstance(result, Refusal):
        raise _import_error(result)
    try:
        return result, await stdout.readexactly(result.weights_bytes)
    except IncompleteReadError as error:
        received = len(error.partial)
        raise _invalid_result(
            f"{received} bytes of weights instead of {result.weights_bytes}"
        ) from None


def _invalid_result(reason: str) -> MalformedRequest:
    """Return the error for a result that the worker cannot have computed from a valid file."""
    log.error("the import process returned an invalid result: %s", reason)
    return MalformedRequest(
        "The file could not be loaded: the process that read it returned an invalid result. "
        "Send the weights as a .safetensors file."
    )


def _import_error(refusal: Refusal) -> ServiceError:
    error = ERRORS_BY_CODE[refusal.code]
    fields = [FieldError("file", refusal.detail)] if error is InvalidField else []
    return error(refusal.detail, errors=fields)
