"""The import process as the server sees it: frames, a deadline for each, and its end."""

import asyncio
import logging
import os
import signal
import sys
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO, Final, cast

import numpy as np
from pydantic import ValidationError

from app.dataset_import.formats.items import Item, Limits, Picture, Pixels, Rejection
from app.dataset_import.messages import (
    FRAME,
    Frame,
    ImportRequest,
    PictureFrame,
    PixelsFrame,
    Refusal,
    RejectionFrame,
    Unfiltered,
)
from app.decoders.frames import LENGTHS, MAX_HEAD_BYTES
from app.errors import (
    BodyTooLarge,
    FieldError,
    InvalidField,
    MalformedRequest,
    NotReady,
    ServiceError,
)
from app.net import SIDE
from app.sandbox.environment import allowed_environment
from app.sandbox.system_calls import warn_of_no_filter
from app.subprocesses import EXIT_TIMEOUT, lower_priority, popen_kwargs

COMMAND: Final = (sys.executable, "-m", "app.dataset_import.worker")
# Seconds for one frame. An archive has to be read for a while before its first image.
FRAME_TIMEOUT: Final = 60.0
ERRORS_BY_CODE: Final = {
    error.code: error for error in (MalformedRequest, BodyTooLarge, InvalidField)
}
CRASHED: Final = (
    "The file could not be read: it exceeded the time or memory limit, or crashed its reader. "
    "Send fewer images."
)
log = logging.getLogger(__name__)


async def read_items(file: IO[bytes], limits: Limits) -> AsyncIterator[Item]:
    """Yield the images of an upload, which another process reads.

    Raises MalformedRequest, BodyTooLarge, InvalidField, NotReady.
    """
    async with _process(file) as process:
        request = ImportRequest(limits=limits).model_dump_json().encode()
        cast(StreamWriter, process.stdin).write(request + b"\n")
        stdout, images = cast(StreamReader, process.stdout), 0
        while True:
            frame, content = await _receive(process, stdout, limits)
            match frame:
                case Unfiltered():
                    warn_of_no_filter("processes that import data sets", frame.error_number)
                case PictureFrame():
                    images += 1
                    yield Picture(frame.name, frame.label, content)
                case PixelsFrame():
                    images += len(frame.numbers)
                    yield _pixels(frame, content)
                case RejectionFrame():
                    yield Rejection(frame.name, frame.code)
                case Refusal():
                    raise _error(frame)
                case _:
                    return
            if images > limits.max_images:  # the process has checked this: it runs another's code
                raise _invalid("it has too many images")


@asynccontextmanager
async def _process(file: IO[bytes]) -> AsyncIterator[Process]:
    descriptor = file.fileno()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        str(descriptor),
        stdin=PIPE,
        stdout=PIPE,
        pass_fds=[descriptor],
        **popen_kwargs(allowed_environment()),
    )
    lower_priority(process.pid)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        cast(StreamWriter, process.stdin).close()
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_TIMEOUT):
                await process.communicate()


async def _receive(process: Process, stdout: StreamReader, limits: Limits) -> tuple[Frame, bytes]:
    try:
        async with asyncio.timeout(FRAME_TIMEOUT):
            head_length, content_length = LENGTHS.unpack(await stdout.readexactly(LENGTHS.size))
            if head_length > MAX_HEAD_BYTES or content_length > _max_content(limits):
                raise _invalid(f"{head_length} and {content_length} bytes")
            head = await stdout.readexactly(head_length)
            content = await stdout.readexactly(content_length)
    except TimeoutError:
        raise MalformedRequest(CRASHED) from None
    except IncompleteReadError:
        raise _crashed(await process.wait()) from None
    try:
        frame = FRAME.validate_json(head)
    except ValidationError as error:
        raise _invalid(f"{error.error_count()} values are invalid") from None
    if isinstance(frame, PixelsFrame) and len(content) != frame.content_bytes:
        raise _invalid(f"{len(content)} bytes instead of {frame.content_bytes}")
    return frame, content


def _error(refusal: Refusal) -> ServiceError:
    error = ERRORS_BY_CODE[refusal.code]
    message = refusal.detail.removeprefix("file: ").rstrip(".")
    fields = [FieldError("file", message)] if error is InvalidField else []
    return error(refusal.detail, errors=fields)


def _max_content(limits: Limits) -> int:
    return max(limits.max_file_bytes, PixelsFrame.max_content_bytes())


def _pixels(frame: PixelsFrame, content: bytes) -> Pixels:
    """Return the images of a frame. Raises MalformedRequest if a label is none."""
    count = len(frame.numbers)
    values = np.frombuffer(content, np.uint8)
    labels = values[:count]
    if labels.max() > 9:
        raise _invalid("a label is no digit")
    return Pixels(frame.name, frame.numbers, labels, values[count:].reshape(count, SIDE, SIDE))


def _crashed(code: int) -> MalformedRequest | NotReady:
    """Return the error for a process that ended early; the system may have killed it."""
    if code == -signal.SIGKILL:
        return NotReady(
            "The file was not read: the system ended the process that read it. Try again.",
            retry_after=30,
        )
    log.warning("import process ended early: exit_code=%d", code)
    return MalformedRequest(CRASHED)


def _invalid(reason: str) -> MalformedRequest:
    """Return the error for a frame that the process cannot have sent."""
    log.error("the import process sent an invalid frame: %s", reason)
    return MalformedRequest(CRASHED)
