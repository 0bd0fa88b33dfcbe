"""Parser for multipart/form-data (RFC 7578) in memory.

`BodyLimit` has bounded the body before it is parsed.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import MalformedRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS: Final = 1000
MAX_PARAMETERS: Final = 16
DISPOSITION: Final = b"content-disposition"
MAX_CACHE_KEY_BYTES: Final = 256
# Up to three headers: a name, a colon, a space, and a value without control characters.
HEAD: Final = re.compile(rb"(?:\r\n[\w-]+: [^\x00-\x1f\x7f]+){1,3}", re.ASCII)


class Part(NamedTuple):
    """One field of the form; a file if it was sent with a filename."""

    name: str
    is_file: bool
    content: bytes


def read_form(body: bytes, content_type: bytes) -> list[Part]:
    """Return all parts in order. Raises MalformedRequest.

    The parser stops at any line that begins like a delimiter, which content must not contain
    (RFC 2046, 5.1.1).
    """
    collector, boundary = _PartCollector(), _boundary(content_type)
    if body.count(b"\r\n--" + boundary) > MAX_PARTS + 1:
        raise _too_many_parts()
    try:
        MultipartParser(boundary, collector.callbacks).write(body)
    except FormParserError as error:
        raise MalformedRequest(f"The multipart body could not be parsed: {error}.") from error
    if not collector.has_ended:
        raise MalformedRequest(
            "The multipart body has no closing boundary. It was truncated, or the Content-Type "
            "header names a different boundary."
        )
    return collector.parts


def parse_single_file(body: bytes, content_type: bytes, name: str) -> bytes | None:
    """Return the file called `name` if it is the only part, with typical headers; else None.

    Nearly all uploads have this form. Reading them this way takes a tenth of the time.
    """
    delimiter = b"--" + _boundary(content_type)
    if len(delimiter) > MAX_CACHE_KEY_BYTES:
        return None
    end = body.find(b"\r\n" + delimiter)
    head, separator, content = body[len(delimiter) : end].partition(b"\r\n\r\n")
    if len(head) > 4 * MAX_CACHE_KEY_BYTES:
        return None
    is_single_part = body.startswith(delimiter) and body[end + 2 + len(delimiter) :] in (
        b"--\r\n",
        b"--",
    )
    if not (is_single_part and separator and _is_file(head, name)):
        return None
    return content


def _too_many_parts() -> MalformedRequest:
    return MalformedRequest(
        f"The multipart body has more than {MAX_PARTS} parts. Send fewer parts."
    )


def _boundary(content_type: bytes) -> bytes:
    """Return the boundary between the parts. Raises MalformedRequest."""
    parse_boundary = (
        _cached_boundary
        if len(content_type) <= MAX_CACHE_KEY_BYTES
        else _cached_boundary.__wrapped__
    )
    return parse_boundary(content_type)


@lru_cache(256)
def _cached_boundary(content_type: bytes) -> bytes:
    boundary = _parameters(content_type).get(b"boundary")
    if not boundary:
        raise MalformedRequest(
            "The Content-Type header has no boundary parameter. Send it as "
            "'multipart/form-data; boundary=…'."
        )
    return boundary


@lru_cache(256)
def _is_file(head: bytes, name: str) -> bool:
    """Return whether these are typical headers of a file part called `name`."""
    if not HEAD.fullmatch(head):
        return False
    fields = [line.partition(b": ") for line in head.split(b"\r\n")]
    values = [value for field, _, value in fields if field.lower() == DISPOSITION]
    if len(values) != 1:
        return False
    part = _parse_disposition(values[0], b"")
    return part.is_file and part.name == name


def _parse_disposition(disposition: bytes, content: bytes) -> Part:
    parameters = _parameters(disposition)
    if b"name" not in parameters:
        raise MalformedRequest(
            "A part of the multipart body has no name. Add one to its Content-Disposition header."
        )
    return Part(parameters[b"name"].decode(errors="replace"), b"filename" in parameters, content)


def _parameters(header: bytes) -> dict[bytes, bytes]:
    """Return a header's parameters. Raises MalformedRequest.

    The time that the parser takes grows with the square of their number.
    """
    if header.count(b";") > MAX_PARAMETERS:
        raise MalformedRequest(
            f"A header of the multipart body has more than {MAX_PARAMETERS} parameters. "
            "Send fewer parameters."
        )
    return parse_options_header(header)[1]


class _PartCollector:
    """Collects the parts from the callbacks of the parser."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.has_ended = False
        self._field, self._value, self._disposition = b"", b"", b""
        self._content: list[bytes] = []
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._add_to_field,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_to_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise _too_many_parts()
        self._disposition, self._content = b"", []

    def _add_to_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == DISPOSITION:
            self._disposition = self._value
        self._field, self._value = b"", b""

    def _add_to_content(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _end_part(self) -> None:
        self.parts.append(_parse_disposition(self._disposition, b"".join(self._content)))

    def _end(self) -> None:
        self.has_ended = True
