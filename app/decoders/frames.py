"""Frames on the socket between the server and a decoder: two lengths, a JSON head, and bytes."""

import json
import socket
from struct import Struct
from typing import Any, Final

LENGTHS: Final = Struct(">II")  # bytes of the head, and of the content
MAX_HEAD_BYTES: Final = 16 * 1024
MAX_DETAIL: Final = 2000  # characters of a refusal


def pack_head(head: dict[str, Any], content: bytes) -> bytes:
    """Return all of a frame but its content."""
    packed = json.dumps(head).encode()
    return LENGTHS.pack(len(packed), len(content)) + packed


def send_frame(connection: socket.socket, head: dict[str, Any], content: bytes) -> None:
    """Send a frame on a blocking socket."""
    connection.sendall(pack_head(head, content))
    connection.sendall(content)


def receive_frame(connection: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """Return the next frame of a blocking socket, or None if the other side has closed it."""
    lengths = _receive(connection, LENGTHS.size)
    if lengths is None:
        return None
    head_length, content_length = LENGTHS.unpack(lengths)
    head, content = _receive(connection, head_length), _receive(connection, content_length)
    return None if head is None or content is None else (json.loads(head), bytes(content))


def _receive(connection: socket.socket, length: int) -> bytes | bytearray | None:
    buffer = bytearray(length)
    with memoryview(buffer) as view:
        start = 0
        while start < length:
            count = connection.recv_into(view[start:])
            if count == 0:
                return None
            start += count
    return buffer
