"""Process of the decoders' template, which may start before the fork server that needs it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from app.sandbox.environment import allowed_environment
from app.subprocesses import popen_kwargs

MODULE: Final = "app.decoders.template"
# Threads that wait for work would be lost in a fork.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class TemplateProcess(NamedTuple):
    """A template, and the server's end of the socket that it serves."""

    process: subprocess.Popen[bytes]
    control: socket.socket


_early: list[TemplateProcess] = []


def start_template(descriptor: int, module: str = MODULE) -> subprocess.Popen[bytes]:
    """Start a template, which serves the socket `descriptor`."""
    return subprocess.Popen(
        [sys.executable, "-m", module, str(descriptor)],
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        **popen_kwargs({**allowed_environment(), **ONE_THREAD}),
    )


def start() -> TemplateProcess:
    """Start a template with a socket of its own."""
    control, template_side = socket.socketpair()
    with template_side:
        return TemplateProcess(start_template(template_side.fileno()), control)


@contextmanager
def started_early() -> Iterator[None]:
    """Start the template that `take` returns first, and end it if nothing took it.

    It imports what decoders need while this process imports the app: a third of a second.
    """
    _early.append(start())
    try:
        yield
    finally:
        while _early:
            template = _early.pop()
            template.control.close()
            template.process.kill()
            template.process.wait()


def take() -> TemplateProcess:
    """Return the template that was started early, or a new one."""
    return _early.pop() if _early else start()
