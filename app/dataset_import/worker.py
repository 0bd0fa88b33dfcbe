"""Import process: reads one untrusted archive, `python -m app.dataset_import.worker FD`.

FD is the open file. Standard input: the request, one line of JSON. It stays open as long as the
server waits. Standard output: frames. The last frame is the end or a refusal. The process has no
secret, can open no other file, and decodes no image file: decoders do that.
"""

import errno
import gzip
import os
import resource
import struct
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import IO, Final

import numpy as np
from pydantic import BaseModel

from app.dataset_import.formats import archive, csv_rows
from app.dataset_import.formats.items import Item, Limits, Picture, Pixels
from app.dataset_import.messages import (
    MAX_DETAIL,
    End,
    ImportRequest,
    PictureFrame,
    PixelsFrame,
    Refusal,
    RejectionFrame,
    Unfiltered,
)
from app.decoders.frames import LENGTHS
from app.errors import BodyTooLarge, InvalidField, MalformedRequest
from app.net import PIXELS, SIDE
from app.sandbox.limits import (
    data_bytes,
    forbid_new_privileges,
    prefer_as_oom_victim,
    set_limit,
)
from app.sandbox.system_calls import make_filter
from app.subprocesses import on_parent_exit

MAX_MEMORY_BYTES: Final = 512 * 1024**2
MAX_CPU_SECONDS: Final = 300
HEAD_BYTES: Final = 4096
ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
FORMATS: Final = (
    "Send a zip of folders `0` to `9`, a zip of IDX files, an .npz file, or a CSV file of 785 "
    "columns."
)
REFUSALS: Final = (MalformedRequest, BodyTooLarge, InvalidField)


def read(file: IO[bytes], limits: Limits) -> Iterator[Item]:
    """Yield the images of an upload. Raises MalformedRequest, BodyTooLarge, InvalidField."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    try:
        if head.startswith(ZIP):
            yield from archive.read(file, limits)
        elif b"," in head and b"\0" not in head:
            yield from csv_rows.read(file, limits)
        else:
            raise MalformedRequest(f"The file is in no format that the service reads. {FORMATS}")
    except archive.DAMAGED as error:
        raise MalformedRequest(f"The file is damaged: {error!s:.200}. Send it again.") from error
    except MemoryError:
        raise MalformedRequest(
            f"Reading the file takes more than {MAX_MEMORY_BYTES // 1024**2} MiB of memory. "
            "Send fewer or smaller files."
        ) from None


def warm_up() -> None:
    """Load what the formats need: a sandboxed process can import nothing any more."""
    labels, images = np.arange(2, dtype=np.uint8), np.full((2, SIDE, SIDE), 200, np.uint8)
    images[:, 10:20, 10:20] = 0
    arrays, folders, pairs = BytesIO(), BytesIO(), BytesIO()
    np.savez_compressed(arrays, images=images, labels=labels)
    with zipfile.ZipFile(folders, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("0/\xe9.png", b"")
    with zipfile.ZipFile(pairs, "w") as writer:
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            writer.writestr(f"{name}-ubyte.gz", gzip.compress(header + array.tobytes()))
    row = ",".join(["0"] * csv_rows.COLUMNS)
    csv = BytesIO(f"label{',' * PIXELS}\n{row}\n".encode())
    for file in (arrays, folders, pairs, csv):
        for item in read(file, Limits(2, 2**20, 2**20)):
            _frame(item)


def main() -> None:
    file = os.fdopen(int(sys.argv[1]), "rb")
    request = ImportRequest.model_validate_json(sys.stdin.buffer.readline())
    on_parent_exit(partial(os._exit, 1))
    warm_up()
    if error_number := _restrict():
        _write(Unfiltered(error_number=error_number))
    try:
        for item in read(file, request.limits):
            _write(*_frame(item))
        _write(End())
    except REFUSALS as error:
        _write(Refusal.model_validate({"code": error.code, "detail": error.detail[:MAX_DETAIL]}))
    sys.stdout.buffer.flush()


def _restrict() -> int:
    """Take away everything but memory, time, the open files and what `make_filter` allows.

    Return 0, or the error number if there is no filter.
    """
    prefer_as_oom_victim()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    set_limit("RLIMIT_CPU", int(usage.ru_utime + usage.ru_stime) + MAX_CPU_SECONDS)
    set_limit("RLIMIT_FSIZE", 0, 0)
    set_limit("RLIMIT_CORE", 0, 0)
    used = data_bytes()
    if used is not None:
        set_limit("RLIMIT_DATA", used + MAX_MEMORY_BYTES)
    forbid_new_privileges()
    try:
        if restrict := make_filter():
            restrict()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _frame(item: Item) -> tuple[BaseModel, bytes]:
    match item:
        case Picture():
            return PictureFrame(name=item.name, label=item.label), item.content
        case Pixels():
            content = item.labels.tobytes() + item.pixels.tobytes()
            head = PixelsFrame.model_validate({"name": item.kind, "numbers": item.numbers})
            return head, content
    return RejectionFrame(name=item.name, code=item.code), b""


def _write(head: BaseModel, content: bytes = b"") -> None:
    packed = head.model_dump_json().encode()
    sys.stdout.buffer.write(LENGTHS.pack(len(packed), len(content)) + packed)
    sys.stdout.buffer.write(content)


if __name__ == "__main__":
    main()
