"""Decoder process: reads images from its socket, one after another, until the socket closes.

It is forked from `app.decoders.template`, which has imported everything. It has no other open
file, no secret, no right to open a file or a socket, and limited memory.
"""

import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from app.decoders import operations
from app.decoders.budget import DATA_BYTES, MAX_GROWTH_BYTES, MAX_UPLOAD_BYTES, Lane
from app.decoders.frames import receive_frame, send_frame
from app.errors import InternalError
from app.sandbox.limits import (
    data_bytes,
    die_with_parent,
    forbid_new_privileges,
    prefer_as_oom_victim,
    set_limit,
)

# With 10, as for training, photos beside many small images are 1.2 times as slow.
NICENESS: Final = 7
CONNECTION: Final = 3  # its file descriptor
MAX_INHERITED_FILES: Final = 64
# `ru_maxrss` is in kilobytes, and on macOS in bytes.
RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


def main(descriptor: int, restrict: Callable[[], None] | None, template: int) -> None:
    """Serve requests on an inherited socket, and return when it closes.

    `template` is the id of the process that forked this one. Raises ProcessLookupError if it has
    ended.
    """
    os.nice(NICENESS)
    if hasattr(os, "SCHED_BATCH"):  # a decoder that wakes up preempts no small image
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    die_with_parent(template)
    connection = _close_other_files(descriptor)
    prefer_as_oom_victim()
    used = data_bytes()
    _apply_limits(used)
    forbid_new_privileges()
    if restrict:
        restrict()
    first = _peak_bytes()
    while frame := receive_frame(connection):
        head, upload = frame
        if used is not None:
            set_limit("RLIMIT_DATA", used + len(upload) + DATA_BYTES[Lane[head["lane"]]])
        reply, content = _reply(head, upload)
        # The peak includes what earlier images took: a decoder that grew has served its last one.
        reply["last"] = _peak_bytes() - first > MAX_GROWTH_BYTES
        send_frame(connection, reply, content)
        if reply["last"]:
            return


def _reply(head: dict[str, Any], upload: bytes) -> operations.Reply:
    try:
        return operations.run(head, upload)
    except Exception as error:  # a defect: the server logs it, and answers 500
        detail = f"{type(error).__name__}: {error!s:.500}"
        return operations.refusal(InternalError(detail))


def _close_other_files(descriptor: int) -> socket.socket:
    if descriptor != CONNECTION:
        os.dup2(descriptor, CONNECTION, inheritable=False)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(CONNECTION):
        os.dup2(null, standard)
    os.closerange(CONNECTION + 1, MAX_INHERITED_FILES)
    return socket.socket(fileno=CONNECTION)


def _apply_limits(used: int | None) -> None:
    set_limit("RLIMIT_CORE", 0, 0)
    set_limit("RLIMIT_FSIZE", 0, 0)
    set_limit("RLIMIT_NOFILE", CONNECTION + 1, CONNECTION + 1)  # no file or socket can be opened
    if used is not None:
        # Not RLIMIT_AS: libraries reserve address space that they never use.
        limit = used + DATA_BYTES[Lane.LARGE] + MAX_UPLOAD_BYTES
        set_limit("RLIMIT_DATA", limit, limit)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
