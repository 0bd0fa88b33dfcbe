"""Operations of a decoder: bytes of an upload to a reply.

A reply has a `kind`: the name of the operation if it succeeded, `refusal`, or `deferral` if the
image belongs into another lane.
"""

import math
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from PIL import Image

from app.decoders.budget import DATA_BYTES, MIB, SMALL_PIXELS, Lane
from app.decoders.frames import MAX_DETAIL
from app.decoders.graphs import counts_of, pack
from app.errors import ImageTooLarge, ServiceError
from app.image.decode import (
    Picture,
    allocated_size,
    memory_bytes,
    open_image,
    opening_bytes,
    to_grey,
)
from app.image.normalise import normalise
from app.image.segmentation.segment import segment

Reply = tuple[dict[str, Any], bytes]


def run(head: dict[str, Any], upload: bytes) -> Reply:
    """Return the reply to a request: its head has the operation, the lane and `max_pixels`."""
    lane = Lane[head["lane"]]
    try:
        needed = _lane_for(opening_bytes(upload))
        if needed <= lane:
            image = open_image(upload, head["max_pixels"])
            needed = _lane_of(image)
        if needed > lane:
            return {"kind": "deferral", "lane": needed.name}, b""
        return OPERATIONS[head["operation"]](image)
    except MemoryError:
        return refusal(_too_much_memory(DATA_BYTES[lane]))
    except ServiceError as error:
        return refusal(error)


def refusal(error: ServiceError) -> Reply:
    """Return an error as a reply."""
    return {"kind": "refusal", "code": error.code, "detail": error.detail[:MAX_DETAIL]}, b""


def _lane_of(image: Picture) -> Lane:
    """Return the lane for an open image. Raises ImageTooLarge."""
    lane = _lane_for(memory_bytes(image))
    is_small = math.prod(allocated_size(image)) <= SMALL_PIXELS
    return lane if is_small else max(lane, Lane.PHOTO)


def _lane_for(memory: int) -> Lane:
    """Return the first lane with so many bytes of memory. Raises ImageTooLarge."""
    for lane in Lane:
        if memory <= DATA_BYTES[lane]:
            return lane
    raise _too_much_memory(memory)


def _too_much_memory(needed: int) -> ImageTooLarge:
    return ImageTooLarge(
        f"Decoding the image takes more memory than {min(needed, DATA_BYTES[Lane.LARGE]) // MIB} "
        "MiB. Send a smaller image, or a JPEG or PNG."
    )


def _digit(image: Picture) -> Reply:
    """Return the digit in MNIST's form: 28x28 bytes."""
    started = time.perf_counter()
    grey = to_grey(image)
    decoded = time.perf_counter()
    normalised = normalise(grey.pixels)
    ended = time.perf_counter()
    head = {
        "kind": "digit",
        "inverted": normalised.inverted,
        "box": normalised.box,
        "shift": normalised.shift,
        "digit_count": normalised.digit_count,
        "scale": grey.size[0] / grey.pixels.shape[1],
        "decode_seconds": decoded - started,
        "normalise_seconds": ended - decoded,
        "began": started,
    }
    return head, normalised.pixels.tobytes()


def _grey(image: Picture) -> Reply:
    """Return the grey pixels of an image that contains ink: a byte each, row by row."""
    pixels = to_grey(image).pixels
    normalise(pixels)
    height, width = pixels.shape
    return {"kind": "grey", "width": width, "height": height}, pixels.tobytes()


def _segments(image: Picture) -> Reply:
    """Return the segmentation graphs of the lines of digits, from top to bottom."""
    grey = to_grey(image)
    lines = segment(grey.pixels)
    scale = grey.size[0] / grey.pixels.shape[1]
    return {"kind": "segments", "scale": scale, "counts": counts_of(lines)}, pack(lines)


OPERATIONS: Final[dict[str, Callable[[Picture], Reply]]] = {
    "digit": _digit,
    "grey": _grey,
    "segments": _segments,
}


def warm_up() -> None:
    """Load what decoders need: a sandboxed process can import nothing any more."""
    Image.init()
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        buffer = BytesIO()
        drawing = Image.new("RGB", (200, 200), "white")
        drawing.paste("black", (80, 40, 110, 160))
        drawing.paste("black", (30, 40, 110, 70))  # so wide that it is searched for seams
        drawing.save(buffer, form)
        for operation in OPERATIONS:
            head = {"operation": operation, "lane": Lane.PHOTO.name, "max_pixels": SMALL_PIXELS * 4}
            run(head, buffer.getvalue())
