"""A pool of decoders for tests, and its processes."""

import asyncio
from collections.abc import Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.predict.image_decoders import ImageDecoders
from app.predict.predictor import never_disconnected
from app.telemetry.metrics import Metrics

TIMEOUT = 240.0  # on a loaded machine, where a decoder has a low priority


@asynccontextmanager
async def open_pool(settings, **changes):
    """Run a pool; by default with one decoder, and one for small uploads."""
    changes = {"predict_timeout": TIMEOUT, "decoders": 1, **changes}
    decoders = ImageDecoders(settings.model_copy(update=changes), Metrics())
    async with decoders.running():
        await decoders.wait_until_ready()
        yield decoders


async def read(decoders, upload, timeout=TIMEOUT, is_cancelled=never_disconnected):
    """Return the preprocessed image, or the error."""
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        return await decoders.read_digit(upload, deadline, is_cancelled)
    except Exception as error:
        return error


def decode_all(settings, uploads: Iterable[bytes]):
    """Return the outcomes of uploads, decoded one after another, and the restarts by reason."""

    async def go():
        async with open_pool(settings) as decoders:
            outcomes = [await read(decoders, upload) for upload in uploads]
            return outcomes, decoders.metrics.decoder_restarts

    return asyncio.run(go())


def children(pid: int) -> list[int]:
    """Return the ids of the children of a process, on Linux; none if it has ended."""
    found: list[int] = []
    with suppress(FileNotFoundError):  # the process has ended
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # this thread has ended since it was listed
                found += map(int, task.read_text().split())
    return found


def decoder_pids(decoders: ImageDecoders) -> list[int]:
    """Return the ids of all decoders."""
    process = decoders._fork_server._process
    return children(process.pid) if process else []
