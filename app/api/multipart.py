"""Parser for multipart/form-data (RFC 7578) in memory; `spooled_upload` writes to disk instead.

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
MAX_TYPICAL_HEAD_BYTES: Final = 1024
HEAD_END: Final = b"\r\n\r\n"
# Up to three headers: a name, a colon, a space, and a value without control characters.
HEAD: Final = re.compile(rb"(?:\r\n[\w-]+: [^\x00-\x1f\x7f]+){1,3}", re.ASCII)


class Part(NamedTuple):
    """One field of the form: a file or a text, which its name decides.

    The filename does not: clients need not send one (RFC 7578, 4.2).
    """

    name: str
    content: bytes


def read_form(body: bytes, content_type: bytes) -> list[Part]:
    """Return all parts in order. Raises MalformedRequest.

    The parser stops at any line that begins like a delimiter, which content must not contain
    (RFC 2046, 5.1.1).
    """
    collector, boundary = PartCollector(), boundary_of(content_type)
    typical_parts = _read_typical_parts(body, b"--" + boundary)
    if typical_parts is not None:
        return typical_parts
    if body.count(b"\r\n--" + boundary) > MAX_PARTS + 1:
        raise _too_many_parts()
    try:
        MultipartParser(boundary, collector.callbacks).write(body)
    except FormParserError as error:
        raise MalformedRequest(f"The multipart body could not be parsed: {error}.") from error
    collector.check_end()
    return collector.parts


def parse_single_file(body: bytes, content_type: bytes, name: str) -> bytes | None:
    """Return the field called `name` if it is the only part, with typical headers; else None.

    Nearly all uploads have this form. Reading them this way takes a tenth of the time.
    """
    delimiter = b"--" + boundary_of(content_type)
    if len(delimiter) > MAX_CACHE_KEY_BYTES:
        return None
    if body.count(delimiter) != 2:
        return None
    parts = _read_typical_parts(body, delimiter)
    if not parts or parts[0].name != name:
        return None
    return parts[0].content


def _read_typical_parts(body: bytes, delimiter: bytes) -> list[Part] | None:
    """Return all parts in order if they have typical headers and nothing is around them.

    Most forms are like this. Searching for the delimiters takes a twentieth of the parser's time.
    """
    if not body.startswith(delimiter):
        return None
    parts: list[Part] = []
    start, separator = len(delimiter), b"\r\n" + delimiter
    while (end := body.find(separator, start)) >= 0:
        head_end = body.find(HEAD_END, start, min(end, start + MAX_TYPICAL_HEAD_BYTES))
        name = _typical_name(body[start:head_end]) if head_end >= 0 else None
        if name is None or len(parts) == MAX_PARTS:
            return None
        parts.append(Part(name, body[head_end + len(HEAD_END) : end]))
        start = end + len(separator)
    return parts if body[start:] in (b"--\r\n", b"--") else None


def _too_many_parts() -> MalformedRequest:
    return MalformedRequest(
        f"The multipart body has more than {MAX_PARTS} parts. Send fewer parts."
    )


def boundary_of(content_type: bytes) -> bytes:
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
def _typical_name(head: bytes) -> str | None:
    """Return the name of a part if these are typical headers, else None."""
    if not HEAD.fullmatch(head):
        return None
    fields = [line.partition(b": ") for line in head.split(b"\r\n")]
    values = [value for field, _, value in fields if field.lower() == DISPOSITION]
    if len(values) != 1 or b"name" not in _parameters(values[0]):
        return None
    return _parse_disposition(values[0], b"").name


def _parse_disposition(disposition: bytes, content: bytes) -> Part:
    parameters = _parameters(disposition)
    if b"name" not in parameters:
        raise MalformedRequest(
            "A part of the multipart body has no name. Add one to its Content-Disposition header."
        )
    return Part(parameters[b"name"].decode(errors="replace"), content)


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


class PartCollector:
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

    @property
    def part_name(self) -> str:
        """The name of the part whose content comes. Raises MalformedRequest if it has none."""
        return _parse_disposition(self._disposition, b"").name

    def add_content(self, data: bytes) -> None:
        """Add content to the present part."""
        self._content.append(data)

    def check_end(self) -> None:
        """Raise MalformedRequest if the end of the form has not come."""
        if not self.has_ended:
            raise MalformedRequest(
                "The multipart body has no closing boundary. It was truncated, or the Content-Type "
                "header names a different boundary."
            )

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
        self.add_content(data[start:end])

    def _end_part(self) -> None:
        self.parts.append(_parse_disposition(self._disposition, b"".join(self._content)))

    def _end(self) -> None:
        self.has_ended = True
