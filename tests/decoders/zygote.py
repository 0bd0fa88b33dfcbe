"""A process that has imported what a template of decoders needs, and forks one for each app.

`python -m tests.decoders.zygote FD` is that process. FD is a stream socket. Each byte that comes
brings the socket of a new template, whose process id is the answer.
"""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import chdir, suppress
from pathlib import Path
from threading import Lock

from app.decoders import template
from app.decoders.template_process import start_template

ROOT = Path(__file__).parents[2]
PID = struct.Struct("i")


class ForkedTemplate:
    """A template as the child of another process, with what the fork server calls of `Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid, self._descriptor = pid, os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> None:
        if not select.select([self._descriptor], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("template", timeout or 0.0)
        os.close(self._descriptor)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)


class Zygote:
    """The process, which starts with the first fork."""

    def __init__(self) -> None:
        self._lock = Lock()  # several apps may start at once
        self._process: subprocess.Popen[bytes] | None = None

    def fork(self, descriptor: int) -> ForkedTemplate:
        """Return a template that serves the socket `descriptor`."""
        with self._lock:
            if self._process is None:
                self._start()
            socket.send_fds(self._control, [b"."], [descriptor])
            (pid,) = PID.unpack(self._control.recv(PID.size))
        return ForkedTemplate(pid)

    def close(self) -> None:
        if self._process:
            self._control.close()
            self._process.wait()

    def _start(self) -> None:
        self._control, other_side = socket.socketpair()
        with other_side, chdir(ROOT):
            self._process = start_template(other_side.fileno(), __name__)


def serve(control: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no template becomes a zombie
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            template.run(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])
        control.send(PID.pack(pid))


if __name__ == "__main__":
    template.warm_up()
    serve(socket.socket(fileno=int(sys.argv[1])))
