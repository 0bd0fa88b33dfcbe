"""Fuzzing targets: images, forms, weights, and whole requests on a connection.

A target takes any bytes, and raises an exception if a guarantee is broken.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import uvicorn
from uvicorn.server import ServerState

from app.api.multipart import parse_single_file, read_form
from app.config.settings import Settings
from app.dataset_import.formats.items import Limits, Picture, Pixels
from app.dataset_import.worker import read as read_dataset
from app.errors import MalformedRequest, ServiceError
from app.main import create_app
from app.net import check_weights
from app.predict.image_decoders import ImageDecoders
from app.server.protocol import Protocol
from app.telemetry.metrics import Metrics
from app.train.supervisor.supervisor import Supervisor
from app.versions import weights_file
from app.versions.checkpoint import BadCheckpoint
from app.weights_import import parent
from tests.fuzz import seeds

MAX_PIXELS = 2**20
CONTENT_TYPE = b"multipart/form-data; boundary=" + seeds.BOUNDARY
DATA = Path(__file__).parents[2] / "data"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
MAX_TICKS = 2000
IMAGE_TIMEOUT = 60.0  # on a loaded machine, where a decoder has a low priority
ERROR_LINE = '{"code": "malformed_request", "detail": "The file was not read."}'
FAILING_COMMAND = (sys.executable, "-S", "-E", "-c", f"print({ERROR_LINE!r})")
Check = Callable[[bytes], None]


@contextmanager
def image() -> Iterator[Check]:
    """An upload is read by a decoder process, or refused."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        settings = Settings(
            state_dir=Path(folder),
            max_pixels=MAX_PIXELS,
            decoders=1,
            predict_timeout=IMAGE_TIMEOUT,
        )
        metrics = Metrics()
        decoders = ImageDecoders(settings, metrics)
        opened = decoders.running()
        runner.run(_begin(opened))
        try:
            yield lambda data: runner.run(_decode(decoders, metrics, data))
        finally:
            runner.run(_end(opened))


async def _decode(decoders: ImageDecoders, metrics: Metrics, data: bytes) -> None:
    deadline = asyncio.get_running_loop().time() + IMAGE_TIMEOUT
    try:
        preprocessed = await decoders.read_digit(data, deadline, lambda: False)
    except ServiceError:
        pixels = None
    else:
        pixels = preprocessed.normalised.pixels
    # The wall would hold, but each of these is a defect to know of.
    assert not metrics.decoder_restarts["crash"], "the decoder crashed"
    if pixels is not None:
        assert (pixels.shape, pixels.dtype) == ((28, 28), np.uint8)
        assert pixels.any()


@contextmanager
def form() -> Iterator[Check]:
    """The quick way reads what the parser reads, or leaves it to the parser."""

    def check(data: bytes) -> None:
        try:
            quick = parse_single_file(data, CONTENT_TYPE, "file")
        except MalformedRequest:
            quick = None
        try:
            parts = read_form(data, CONTENT_TYPE)
        except MalformedRequest:
            assert quick is None, "the quick way takes what the parser refuses"
            return
        if quick is not None:
            assert [part.content for part in parts] == [quick]
            assert parts[0].name == "file"

    yield check


@contextmanager
def weights() -> Iterator[Check]:
    """A file is read as MyNet's weights, or refused in words."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"

        def check(data: bytes) -> None:
            path.write_bytes(data)
            try:
                check_weights(weights_file.read(path).weights)
            except BadCheckpoint as error:
                assert 0 < len(error.problem) < 1000

        yield check


@contextmanager
def dataset() -> Iterator[Check]:
    """An archive is read as a data set, or refused in words, and never beyond its bounds."""
    limits = Limits(max_images=100, max_unpacked_bytes=2**20, max_file_bytes=2**16)

    def check(data: bytes) -> None:
        images = 0
        try:
            for item in read_dataset(BytesIO(data), limits):
                if isinstance(item, Picture):
                    images += 1
                    assert item.label in range(10)
                    assert len(item.content) <= limits.max_file_bytes
                elif isinstance(item, Pixels):
                    images += len(item.numbers)
                    assert item.labels.max() < 10
                    assert item.pixels.shape == (len(item.labels), 28, 28)
        except ServiceError as error:
            assert 0 < len(error.detail) < 1000
        assert images <= limits.max_images

    yield check


@contextmanager
def request() -> Iterator[Check]:
    """Whatever comes on a connection is answered, or waited for, and never with a 500."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            state_dir=Path(folder),
            data_dir=DATA,
            device="cpu",
            max_pixels=MAX_PIXELS,
            allowed_hosts="*",  # else most requests would end at their Host
        )
        serving = _InProcessServer(settings)
        # No training is started, and no file of weights is read: other targets do that, faster.
        idle = patch.object(Supervisor, "_start_next", lambda _: None)
        with patch.object(parent, "COMMAND", FAILING_COMMAND), idle, asyncio.Runner() as runner:
            opened = serving.open()
            runner.run(_begin(opened))
            try:
                yield lambda data: runner.run(serving.answer(data))
            finally:
                runner.run(_end(opened))


async def _begin(context: Any) -> None:
    await context.__aenter__()


async def _end(context: Any) -> None:
    await context.__aexit__(None, None, None)


class _InProcessServer:
    """The app behind the service's own protocol, without a socket."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.config = uvicorn.Config(
            self.app, http=Protocol, loop="asyncio", ws="none", log_config=None, access_log=False
        )

    @asynccontextmanager
    async def open(self) -> Any:
        self.config.load()
        async with self.app.router.lifespan_context(self.app) as state:
            self.state = state
            yield

    async def answer(self, data: bytes) -> None:
        """Send, hang up in writing, and look at what was answered."""
        server = ServerState()
        protocol = Protocol(self.config, server, self.state, asyncio.get_running_loop())
        wire = _FakeTransport()
        protocol.connection_made(wire)
        middle = len(data) // 2
        protocol.data_received(data[:middle])
        protocol.data_received(data[middle:])
        for _ in range(MAX_TICKS):
            if wire.closed or (protocol.cycle is None or protocol.cycle.response_complete):
                break
            await asyncio.sleep(0 if not server.tasks else 0.0005)
            if protocol.cycle.response_complete is False and _is_waiting(protocol):
                break
        wire.closed = True
        protocol.connection_lost(None)
        if server.tasks:
            await asyncio.wait(server.tasks, timeout=5)
        for status in STATUS.findall(wire.written):
            assert status != b"500", bytes(wire.written[-600:])


def _is_waiting(protocol: Protocol) -> bool:
    """Return whether the request is not whole: nothing will come before the rest of it does."""
    cycle = protocol.cycle
    return protocol.fast_cycle is not None or bool(getattr(cycle, "more_body", False))


class _FakeTransport(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"socket": self})
        self.written, self.closed, self.family = bytearray(), False, None

    def getsockname(self) -> tuple[str, int]:
        return "host", 80

    getpeername = getsockname

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None: ...


TARGETS = {
    "image": (image, seeds.images),
    "form": (form, seeds.forms),
    "weights": (weights, seeds.weights),
    "dataset": (dataset, seeds.datasets),
    "request": (request, seeds.requests),
}
