"""Import of weights from files, validated in a separate process (server side).

`app.weights_import.worker` is that process. It keeps pickles, and the libraries that evaluation
loads, out of the server.
"""

import asyncio
import os
import signal
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final, Literal, cast

from filelock import AsyncFileLock, FileLock, Timeout
from pydantic import BaseModel

from app.atomic_files import TEMPORARY, make_folder, remove_temporary_files
from app.config.settings import Settings
from app.errors import FieldError, InvalidField, MalformedRequest, NotReady, QueueFull, ServiceError
from app.subprocesses import lower_priority, popen_kwargs

COMMAND: Final = (sys.executable, "-m", "app.weights_import.worker")
IMPORT_TIMEOUT: Final = 300.0
LOCK_TIMEOUT: Final = 30.0
LOCK_FILE: Final = ".lock"
READING: Final = b"reading"
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


class ImportRequest(BaseModel):
    """A file to import, and the origin and note for its card."""

    settings: Settings
    path: Path
    origin: Literal["checkpoint", "uploaded"]
    note: str | None


class ImportResult(BaseModel):
    """The result of an import: a version, or an error."""

    version: int | None = None
    code: str = ""
    detail: str = ""


async def import_upload(settings: Settings, content: bytes, note: str | None) -> int:
    """Store an upload as a new version, and return its number. Uploads are imported one at a time.

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
            request = ImportRequest(settings=settings, path=path, origin="uploaded", note=note)
            return await _import_in(process, request)


async def import_checkpoint(request: ImportRequest) -> int:
    """Validate, evaluate and store a file, and return the number of its version.

    Raises MalformedRequest if the file cannot be read, InvalidField if its weights are not MyNet's,
    NotReady if MNIST is unavailable or the process died.
    """
    async with _import_process() as process:
        return await _import_in(process, request)


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
        *COMMAND, stdin=PIPE, stdout=PIPE, **popen_kwargs()
    )
    lower_priority(process.pid)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        cast(StreamWriter, process.stdin).close()
        await process.wait()


async def _import_in(process: Process, request: ImportRequest) -> int:
    """Send the request to the process. It exits when this side closes the pipe."""
    cast(StreamWriter, process.stdin).write(request.model_dump_json().encode() + b"\n")
    stdout = cast(StreamReader, process.stdout)
    is_reading = False
    try:
        async with asyncio.timeout(IMPORT_TIMEOUT):
            line = await stdout.readline()
            if line.strip() == READING:
                is_reading, line = True, await stdout.readline()
    except TimeoutError:
        raise NotReady(
            f"The file was not imported within {IMPORT_TIMEOUT:.0f} s. Try again later."
        ) from None
    if not line:
        code = await process.wait()
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
    result = ImportResult.model_validate_json(line)
    if result.version is None:
        raise _import_error(result)
    return result.version


def _import_error(result: ImportResult) -> ServiceError:
    error = ERRORS_BY_CODE[result.code]
    fields = [FieldError("file", result.detail)] if error is InvalidField else []
    return error(result.detail, errors=fields)
