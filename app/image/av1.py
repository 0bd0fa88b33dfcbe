"""How large the frame is that a decoder makes of AV1.

What enters: the bytes of one picture, a "low overhead bitstream". What leaves: the size of its one
frame. This module does not know what holds the bytes, nor which sizes are too large.

AV1 Bitstream & Decoding Process Specification, version 1.0.0 with errata 1, 5.3 to 5.9. Superres
widens no frame beyond what its header says: it is what is coded that is narrower (7.20).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

Size: TypeAlias = tuple[int, int]  # width, height

# Of OBUs. A redundant header is taken for a frame's by decoders that have seen none before it.
SEQUENCE: Final = 1
FRAMES: Final = (3, 6, 7)
MOST_OBUS: Final = 100  # of a picture; encoders write two to four
CHOOSE: Final = 2  # of a tool: each frame says whether it is used
KEY_FRAME: Final = 0


class Sequence(NamedTuple):
    """What a sequence header says, of which a frame's header cannot be read without the rest."""

    size: Size
    reduced: bool = True  # and then all frames are of this size
    of_number: int = 0  # bits in which a frame is numbered
    screen_tools: int = CHOOSE
    integer_vectors: int = CHOOSE


class Bits:
    """Numbers of so many bits each, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> int:
        """Read the next; raises ValueError where there are no more."""
        first, self.at = self.at // 8, self.at + count
        if self.at > 8 * len(self.data):
            raise ValueError("it is cut off")
        taken = int.from_bytes(self.data[first : (self.at + 7) // 8])
        return taken >> -self.at % 8 & ((1 << count) - 1)


def frame_size(data: memoryview) -> Size:
    """Find the size of the one frame; raises ValueError where there may be others."""
    sequence: Sequence | None = None
    frames = 0
    for kind, body in _obus(data):
        if kind == SEQUENCE:
            found = _sequence(Bits(body))
            if sequence not in (None, found):
                raise ValueError("its frames are not all of one size")
            sequence = found
        elif kind in FRAMES:
            frames += 1
            if sequence is None:
                raise ValueError("a frame comes before the header that says its size")
            _check_frame(Bits(body), sequence)
    if sequence is None or frames != 1:
        raise ValueError(f"it has {frames} frames in a picture, where a still image has 1")
    return sequence.size


def _obus(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Take it apart (5.3)."""
    bits = Bits(data)
    for _ in range(MOST_OBUS):
        if bits.at == 8 * len(data):
            return
        kind, extended, sized = bits.take(5), bits.take(1), bits.take(1)
        bits.take(9 if extended else 1)
        size = _leb128(bits) if sized else len(data) - bits.at // 8
        start = bits.at // 8
        if size > len(data) - start:
            raise ValueError("it is cut off")
        yield kind & 15, data[start : start + size]
        bits.at += 8 * size
    raise ValueError(f"a picture has more than {MOST_OBUS} parts")


def _leb128(bits: Bits) -> int:
    size = 0
    for shift in range(0, 56, 7):
        more = bits.take(1)
        size |= bits.take(7) << shift
        if not more:
            return size
    raise ValueError("a part is longer than AV1 allows")


def _sequence(bits: Bits) -> Sequence:
    """Read a sequence header (5.5.1), as far as the size of its frames depends on it."""
    bits.take(4)  # profile, still picture
    reduced = bool(bits.take(1))
    if reduced:
        bits.take(5)
    else:
        _operating_points(bits)
    sides = bits.take(4) + 1, bits.take(4) + 1
    size = bits.take(sides[0]) + 1, bits.take(sides[1]) + 1
    if reduced:
        return Sequence(size)
    of_number = bits.take(4) + bits.take(3) + 3 if bits.take(1) else 0
    bits.take(7)  # superblocks, intra and inter tools
    if bits.take(1):  # order of frames
        bits.take(2)
    screen_tools = CHOOSE if bits.take(1) else bits.take(1)
    chosen = screen_tools == 0 or bits.take(1)
    integer_vectors = CHOOSE if chosen else bits.take(1)
    return Sequence(size, False, of_number, screen_tools, integer_vectors)


def _operating_points(bits: Bits) -> None:
    if bits.take(1):
        raise ValueError("its frames are timed, which a still image's are not")
    delayed = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delayed and bits.take(1):
            bits.take(4)


def _check_frame(bits: Bits, sequence: Sequence) -> None:
    """Read a frame's header (5.9.2) as far as the flag that gives it a size of its own."""
    if sequence.reduced:
        return
    repeats, kind, shown = bits.take(1), bits.take(2), bits.take(1)
    if repeats or kind != KEY_FRAME or not shown:
        raise ValueError("its frame is no key frame that is shown")
    bits.take(1)
    screen_tools = bits.take(1) if sequence.screen_tools == CHOOSE else sequence.screen_tools
    if screen_tools and sequence.integer_vectors == CHOOSE:
        bits.take(1)
    bits.take(sequence.of_number)
    if bits.take(1):
        raise ValueError("its frame has a size of its own")
