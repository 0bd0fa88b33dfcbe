"""A file from elsewhere becomes a version: the server's side.

What enters: a file, or an upload's bytes. What leaves: the version that it became, or the refusal.
This module does not know what makes a file sound: `app.weights_import.worker` finds that out, in
a process of its own, since pickles from elsewhere stay out of the server, and so does what
evaluation loads.
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
# How a process ends whose file is beyond its limits or broke its libraries. SIGKILL is not among
# them: the system may have run out of memory for other reasons.
CRASH_SIGNALS: Final = {
    -signal.SIGXCPU,
    -signal.SIGSEGV,
    -signal.SIGBUS,
    -signal.SIGABRT,
    -signal.SIGFPE,
}
ERRORS_BY_CODE: Final = {error.code: error for error in (MalformedRequest, InvalidField, NotReady)}


class ImportRequest(BaseModel):
    """A file, and what its card is to say of it."""

    settings: Settings
    path: Path
    origin: Literal["checkpoint", "uploaded"]
    note: str | None


class ImportResult(BaseModel):
    """What became of a candidate: a version, or a refusal."""

    version: int | None = None
    code: str = ""
    detail: str = ""


async def import_upload(settings: Settings, content: bytes, note: str | None) -> int:
    """Make a version of an upload, one at a time in the state folder, and give its number.

    Raises QueueFull, and as `import_checkpoint`.
    """
    if not content:
        raise MalformedRequest(
            "The body is empty: send a .safetensors file or a state dict saved by torch.save, "
            "as the body or as the multipart field `file`."
        )
    async with _upload_lock(settings.uploads_dir) as folder, _import_process() as process:
        with NamedTemporaryFile(dir=folder, prefix=".", suffix=TEMPORARY) as file:
            await asyncio.to_thread(_fill, file, content)
            path = Path(file.name)
            request = ImportRequest(settings=settings, path=path, origin="uploaded", note=note)
            return await _import_in(process, request)


async def import_checkpoint(request: ImportRequest) -> int:
    """Have a file appraised and stored, and give the number of its version.

    Raises MalformedRequest where it cannot be read, InvalidField where its weights are not MyNet's,
    NotReady where MNIST is not to be had or the process died.
    """
    async with _import_process() as process:
        return await _import_in(process, request)


def remove_temporary_uploads(folder: Path) -> None:
    """Remove what uploads left whose server was killed, unless one is under way elsewhere."""
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
        raise QueueFull("Other files are being appraised.", retry_after=int(LOCK_TIMEOUT)) from None
    try:
        remove_temporary_files(folder)
        yield folder
    finally:
        await lock.release()


def _fill(file: IO[bytes], content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())  # a full disk is told here, and not by the appraisal


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
    """Hand over the candidate. The pipe stays open: the process ends when it closes."""
    cast(StreamWriter, process.stdin).write(request.model_dump_json().encode() + b"\n")
    stdout = cast(StreamReader, process.stdout)
    is_reading = False
    try:
        async with asyncio.timeout(IMPORT_TIMEOUT):
            line = await stdout.readline()
            if line.strip() == READING:
                is_reading, line = True, await stdout.readline()
    except TimeoutError:
        raise NotReady(f"The file was not appraised within {IMPORT_TIMEOUT:.0f} s.") from None
    if not line:
        code = await process.wait()
        if is_reading and code in CRASH_SIGNALS:
            raise MalformedRequest(
                "The file takes more time or memory than MyNet's weights can, or breaks the "
                "library that reads it."
            )
        raise NotReady(
            f"The file was not appraised: the process that does it ended with exit code {code}. "
            "The service's log may tell why.",
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
