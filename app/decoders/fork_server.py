"""Fork server: starts the template of decoders, and has it fork and kill them."""

import asyncio
import logging
import socket
import subprocess
import time
from contextlib import suppress
from typing import Final

from app.decoders import template_process
from app.decoders.control import COMMAND, EXIT, FORK, KILL, READY
from app.decoders.process import Decoder
from app.errors import NotReady
from app.sandbox.system_calls import warn_of_no_filter

START_TIMEOUT: Final = 60.0
# Seconds between two starts of a template that ends by itself.
RESTART_INTERVAL: Final = 1.0
EXIT_TIMEOUT: Final = 5.0
log = logging.getLogger(__name__)


class ForkServer:
    """The template process, and the decoders that it forked. Belongs to one event loop."""

    def __init__(self) -> None:
        self.decoders: dict[int, Decoder] = {}
        self._open: set[Decoder] = set()
        self.starts = 0
        self._numbers = 0
        self._started_at = float("-inf")
        self._process: subprocess.Popen[bytes] | None = None

    async def wait_until_ready(self) -> None:
        """Wait until the template has imported everything, and can fork. Raises NotReady."""
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise NotReady(
                f"The image decoders did not start within {START_TIMEOUT:g} s."
            ) from None

    def fork(self) -> Decoder:
        """Return a new decoder. It gets its first request when it is ready.

        Raises NotReady if the template ended, and was started less than a second ago.
        """
        if self._process is None:
            self._start()
        server_side, decoder_side = socket.socketpair()
        server_side.setblocking(False)
        self._numbers += 1
        decoder = Decoder(self._numbers, server_side)
        with decoder_side:
            try:
                message = COMMAND.pack(FORK, decoder.number)
                socket.send_fds(self._control, [message], [decoder_side.fileno()])
            except OSError as error:
                decoder.close()
                raise NotReady(
                    f"No image decoder can be started: {error}.", retry_after=1
                ) from error
        self.decoders[decoder.number] = decoder
        self._open.add(decoder)
        return decoder

    def kill(self, decoder: Decoder) -> None:
        """Kill a decoder, whatever it does."""
        decoder.close()
        self._open.discard(decoder)
        with suppress(OSError):  # the template ended, and its decoders with it
            self._control.send(COMMAND.pack(KILL, decoder.number))

    def close(self) -> None:
        """End the template and all decoders."""
        process, self._process = self._process, None
        for decoder in self._open:
            decoder.close()
        if process is None:
            return
        self._disconnect()
        try:
            process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        if time.monotonic() - self._started_at < RESTART_INTERVAL:
            raise NotReady(
                "The image decoders are restarting. Try again in a second.", retry_after=1
            )
        self._started_at = time.monotonic()
        self.starts += 1
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._process, self._control = template_process.take()
        self._control.setblocking(False)
        loop.add_reader(self._control, self._receive)

    def _receive(self) -> None:
        try:
            message = self._control.recv(EXIT.size * 64)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._on_template_exit()
            return
        for number, code in EXIT.iter_unpack(message):
            if number == READY and not self._ready.done():
                if code:
                    warn_of_no_filter("image decoders", code)
                self._ready.set_result(None)
            elif decoder := self.decoders.pop(number, None):
                _set(decoder.exit_code, code)

    def _on_template_exit(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        log.error("decoder template ended: pid=%d", process.pid)
        self._disconnect()
        process.kill()
        process.wait()

    def _disconnect(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        if not self._ready.done():
            self._ready.set_exception(NotReady("The image decoders cannot start: see the log."))
            self._ready.exception()  # waited for or not, it counts as retrieved
        for decoder in self.decoders.values():
            _set(decoder.exit_code, None)
        self.decoders.clear()


def _set(future: asyncio.Future[int | None], value: int | None) -> None:
    if not future.done():
        future.set_result(value)
