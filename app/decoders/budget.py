"""Memory budgets of decoders, by the lane that an upload waits in.

The sum is what counts: one large image is decoded at a time. So two decoders, and that of small
uploads, add at most 550 MiB to what they share with their template.
"""

from enum import IntEnum
from typing import Final

MIB: Final = 1024**2


class Lane(IntEnum):
    """The queue of an upload: by its bytes at first, then by what its header says."""

    SMALL = 0
    PHOTO = 1
    LARGE = 2


# What one image may allocate, over what its process had before. A photo of 12 megapixels takes 84
# MB as HEIC, 65 as PNG and 5 as JPEG; 50 megapixels take 390 as WebP, 300 as progressive JPEG and
# 225 as PNG.
DATA_BYTES: Final = {Lane.SMALL: 32 * MIB, Lane.PHOTO: 112 * MIB, Lane.LARGE: 400 * MIB}
# A decoder that grew by more is replaced: its allocator may keep memory that nothing uses.
MAX_GROWTH_BYTES: Final = 120 * MIB
SMALL_PIXELS: Final = 128 * 128
MAX_UPLOAD_BYTES: Final = 64 * MIB  # in memory beside its image
