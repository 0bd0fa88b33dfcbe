"""Large multipart uploads: the field `file` goes to disk while it arrives, not to memory.

The temporary file has no name, so it is gone with its process, however that ends.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from app.api.encoded_images import invalid_field
from app.api.multipart import PartCollector, boundary_of
from app.api.problem_details import invalid
from app.atomic_files import PRIVATE, make_folder
from app.errors import MalformedRequest

FILE: Final = "file"
FORM: Final = "multipart/form-data"
MAX_FIELD_BYTES: Final = 16 * 1024  # of all fields but the file
# Bytes that are parsed and written in a thread at a time.
PIECE_BYTES: Final = 1024**2
ModelT = TypeVar("ModelT", bound=BaseModel)


@asynccontextmanager
async def spooled_form(
    request: Request, folder: Path, model: type[ModelT]
) -> AsyncIterator[tuple[IO[bytes], ModelT]]:
    """Yield the field `file` as an open file, and the other fields of the form as a `model`.

    Raises MalformedRequest, InvalidField, BodyTooLarge, OSError.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise MalformedRequest(
            f"The body is not {FORM}. Send the data set as the form field `{FILE}`, and `name`."
        )
    boundary = boundary_of(content_type.encode("latin-1"))
    make_folder(folder, PRIVATE)
    with TemporaryFile(dir=folder) as file:
        collector = _SpoolingCollector(file)
        parser = MultipartParser(boundary, collector.callbacks)
        async for piece in _pieces(request):
            await asyncio.to_thread(_parse, parser, piece)
        yield file, await asyncio.to_thread(collector.finish, model)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for data in request.stream():
        buffer += data
        if len(buffer) >= PIECE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


def _parse(parser: MultipartParser, piece: bytes) -> None:
    try:
        parser.write(piece)
    except FormParserError as error:
        raise MalformedRequest(f"The multipart body could not be parsed: {error}.") from error


class _SpoolingCollector(PartCollector):
    """Collects small fields in memory, and writes the one file to disk."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._files, self._field_bytes = file, 0, 0

    def add_content(self, data: bytes) -> None:
        if self.part_name == FILE:
            self._file.write(data)
            return
        self._field_bytes += len(data)
        if self._field_bytes > MAX_FIELD_BYTES:
            raise MalformedRequest(
                f"The fields of the form take more than {MAX_FIELD_BYTES} bytes. Send the data set "
                f"as the field `{FILE}`."
            )
        super().add_content(data)

    def finish(self, model: type[ModelT]) -> ModelT:
        """Return the fields, after the whole body. Raises MalformedRequest, InvalidField."""
        self.check_end()
        fields: dict[str, str] = {}
        for part in self.parts:
            if part.name in fields or (part.name == FILE and self._files):
                raise invalid_field(part.name, "was sent more than once; send one value")
            self._files += part.name == FILE
            if part.name in model.model_fields:
                fields[part.name] = part.content.decode(errors="replace")
        if not self._files:
            raise invalid_field(FILE, "is missing; send the data set as this form field")
        try:
            values = model.model_validate(fields)
        except ValidationError as error:
            raise invalid(error.errors()) from None
        self._file.flush()
        os.fsync(self._file.fileno())  # reports a full disk now, and not during the import
        return values
