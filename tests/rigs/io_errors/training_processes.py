"""Training processes that a process forks which has imported PyTorch: seconds less for each.

`python -m tests.rigs.io_errors.training_processes FD` is that process. Each message on the socket
FD brings the standard input and output of a new one. The answers are its id, and its exit code.
"""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

NUMBER: Final = struct.Struct("i")


class ForkedProcess:
    """A training process, with what the supervisor calls of `Popen`."""

    def __init__(self, control: socket.socket, line: str) -> None:
        (theirs, mine), (readable, writable) = os.pipe(), os.pipe()
        self.stdin: TextIO = os.fdopen(mine, "w")
        self.stdout: TextIO = os.fdopen(readable)
        socket.send_fds(control, [b"."], [theirs, writable])
        os.close(theirs)
        os.close(writable)
        self._control = control
        (self.pid,) = NUMBER.unpack(control.recv(NUMBER.size))
        self.returncode: int | None = None
        self.stdin.write(f"{line}\n")
        self.stdin.flush()

    def poll(self) -> int | None:
        return self._receive(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._receive(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("training", timeout or 0.0)
        return code

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _receive(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._control], [], [], timeout)[0]:
            (self.returncode,) = NUMBER.unpack(self._control.recv(NUMBER.size))
        return self.returncode


class TrainingProcesses:
    """The process that forks them, one at a time. Use it as a context."""

    def __enter__(self) -> "TrainingProcesses":
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        return self

    def start(self, _module: str, line: str) -> ForkedProcess:
        return ForkedProcess(self._control, line)

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait()


def serve(control: socket.socket) -> None:
    from app.train.worker.main import main  # imports PyTorch, which the rig's process need not

    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            os._exit(run(main, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        with suppress(BrokenPipeError):  # the rig was ended
            control.send(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def run(main: Callable[[], None], descriptors: list[int]) -> int:
    """Run the training process with these as standard input and output; return its exit code."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its errors are in the job, and expected
    sys.stdin = os.fdopen(0, closefd=False)
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        return 1
    return 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
