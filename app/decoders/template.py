"""Template of decoders, `python -m app.decoders.template FD`: it forks them within milliseconds.

It has imported everything that a decoder needs, and reads no upload. FD is a stream socket. The
server sends `FORK` with an id and the socket of a new decoder, or `KILL` with an id. The template
sends the id and the exit code of each decoder that has ended, and when it is ready, the id 0 and
the error number if decoders run without a filter of system calls. It ends all decoders, and itself,
when the socket closes.
"""

import errno
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from app.decoders import operations, worker
from app.decoders.control import COMMAND, EXIT, FORK, READY
from app.sandbox.system_calls import make_filter


class Template:
    """The decoders that were forked, by their process ids."""

    def __init__(self, control: socket.socket) -> None:
        self.control, self.ids = control, dict[int, int]()
        self.restrict: Callable[[], None] | None = None
        # A signal writes a byte to this socket, which ends the wait for messages.
        self.wake_up, self._waker = socket.socketpair()
        for end in (self.wake_up, self._waker):
            end.setblocking(False)

    def serve(self) -> None:
        """Fork and kill until the server closes the socket."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            # Sent to the whole group when the service stops; the server ends this process.
            signal.signal(number, signal.SIG_IGN)
        self.control.send(EXIT.pack(READY, self._prepare_filter()))
        while True:
            readable, _, _ = select.select([self.control, self.wake_up], [], [])
            if self.wake_up in readable:
                with suppress(BlockingIOError):
                    self.wake_up.recv(4096)
                self._report_exits()
            if self.control in readable and not self._obey():
                return

    def kill_all(self) -> None:
        for pid in self.ids:
            os.kill(pid, signal.SIGKILL)

    def _prepare_filter(self) -> int:
        """Prepare the filter of decoders, and return 0, or the error number if there is none."""
        try:
            restrict = make_filter()
            if restrict:
                _try_in_child(restrict)
        except OSError as error:  # decoders do without
            return error.errno or errno.EIO
        self.restrict = restrict  # a decoder in which it fails ends
        return 0

    def _obey(self) -> bool:
        """Execute one command. Return False if the server is gone."""
        try:
            # A stream, whose messages have one length; a file descriptor ends what `recv` returns.
            message, descriptors, _, _ = socket.recv_fds(self.control, COMMAND.size, 1)
        except ConnectionError:
            return False
        if not message:
            return False
        command, number = COMMAND.unpack(message)
        if command == FORK:
            self._fork(number, descriptors[0])
        else:
            for pid, decoder in self.ids.items():
                if decoder == number:  # not reaped yet, so no other process has this id
                    os.kill(pid, signal.SIGKILL)
        return True

    def _fork(self, number: int, descriptor: int) -> None:
        template, pid = os.getpid(), os.fork()
        if pid:
            os.close(descriptor)
            self.ids[pid] = number
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            worker.main(descriptor, self.restrict, template)
            code = 0
        finally:
            os._exit(code)

    def _report_exits(self) -> None:
        while self.ids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            with suppress(OSError):  # the server is gone
                self.control.send(EXIT.pack(self.ids.pop(pid), code))


def _try_in_child(restrict: Callable[[], None]) -> None:
    """Raise the OSError that a child process gets when it restricts itself, if any."""
    pid = os.fork()
    if pid:
        if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise OSError(code, os.strerror(code))
        return
    code = errno.EIO
    try:
        restrict()
        code = 0
    except OSError as error:
        code = error.errno or errno.EIO
    finally:
        os._exit(code)


def run(control: socket.socket) -> NoReturn:
    """Serve as a template, and exit. Everything must be imported and warmed up."""
    template = Template(control)
    try:
        template.serve()
    finally:
        template.kill_all()
        os._exit(0)  # at once: the signals of the killed decoders still arrive


def warm_up() -> None:
    """Do once what each decoder would do otherwise, and share it with all decoders."""
    operations.warm_up()
    gc.collect()
    gc.freeze()  # a collection in a decoder would copy every page that it shares


if __name__ == "__main__":
    warm_up()
    run(socket.socket(fileno=int(sys.argv[1])))
