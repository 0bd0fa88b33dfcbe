"""AVIF and AV1 header parser that finds the true size of every frame.

libavif allocates a frame of the size in the AV1 frame, whatever the container says, and scales it
afterwards. Pillow does not let callers limit that size. So this module locates the bytes of the
frames as libavif does, and rejects ambiguous files. The boxes are defined in ISO/IEC 14496-12
(4.2, 8.11), their contents in ISO/IEC 23008-12 (6.5.3, 6.6.2.3, 9.3).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

Size: TypeAlias = tuple[int, int]  # width, height

# OBU types. A decoder takes a redundant frame header for a frame's if it has read none before.
SEQUENCE: Final = 1
FRAMES: Final = (3, 6, 7)
MAX_OBUS: Final = 100  # in a picture; encoders write two to four
CHOOSE: Final = 2  # each frame says whether it uses the tool
KEY_FRAME: Final = 0


class Sequence(NamedTuple):
    """The fields of a sequence header that are needed to read a frame header."""

    size: Size
    reduced: bool = True  # if so, all frames have this size
    frame_id_bits: int = 0  # bits of a frame number
    screen_tools: int = CHOOSE
    integer_vectors: int = CHOOSE


class BitReader:
    """Reads integers of any number of bits, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0

    def read(self, count: int) -> int:
        """Return the next integer of `count` bits. Raises ValueError at the end of the data."""
        first, self.position = self.position // 8, self.position + count
        if self.position > 8 * len(self.data):
            raise ValueError("the data is truncated")
        value = int.from_bytes(self.data[first : (self.position + 7) // 8])
        return value >> -self.position % 8 & ((1 << count) - 1)


def frame_size(data: memoryview) -> Size:
    """Return the size of the one frame. Raises ValueError if there may be others."""
    sequence: Sequence | None = None
    frames = 0
    for kind, body in _obus(data):
        if kind == SEQUENCE:
            found = _sequence(BitReader(body))
            if sequence not in (None, found):
                raise ValueError("the frames differ in size")
            sequence = found
        elif kind in FRAMES:
            frames += 1
            if sequence is None:
                raise ValueError("a frame comes before the sequence header with its size")
            _check_frame(BitReader(body), sequence)
    if sequence is None or frames != 1:
        raise ValueError(f"a picture has {frames} frames, but a still image has 1")
    return sequence.size


def _obus(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the content of each OBU (5.3)."""
    bits = BitReader(data)
    for _ in range(MAX_OBUS):
        if bits.position == 8 * len(data):
            return
        kind, extended, sized = bits.read(5), bits.read(1), bits.read(1)
        bits.read(9 if extended else 1)
        size = _leb128(bits) if sized else len(data) - bits.position // 8
        start = bits.position // 8
        if size > len(data) - start:
            raise ValueError("the data is truncated")
        yield kind & 15, data[start : start + size]
        bits.position += 8 * size
    raise ValueError(f"a picture has more than {MAX_OBUS} OBUs")


def _leb128(bits: BitReader) -> int:
    size = 0
    for shift in range(0, 56, 7):
        more = bits.read(1)
        size |= bits.read(7) << shift
        if not more:
            return size
    raise ValueError("an OBU is longer than AV1 allows")


def _sequence(bits: BitReader) -> Sequence:
    """Return a sequence header (5.5.1), read as far as the frame size depends on it."""
    bits.read(4)  # profile, still picture
    reduced = bool(bits.read(1))
    if reduced:
        bits.read(5)
    else:
        _operating_points(bits)
    sides = bits.read(4) + 1, bits.read(4) + 1
    size = bits.read(sides[0]) + 1, bits.read(sides[1]) + 1
    if reduced:
        return Sequence(size)
    frame_id_bits = bits.read(4) + bits.read(3) + 3 if bits.read(1) else 0
    bits.read(7)  # superblocks, intra and inter tools
    if bits.read(1):  # order hints
        bits.read(2)
    screen_tools = CHOOSE if bits.read(1) else bits.read(1)
    chosen = screen_tools == 0 or bits.read(1)
    integer_vectors = CHOOSE if chosen else bits.read(1)
    return Sequence(size, False, frame_id_bits, screen_tools, integer_vectors)


def _operating_points(bits: BitReader) -> None:
    if bits.read(1):
        raise ValueError("the frames have timing information, which a still image has not")
    delayed = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delayed and bits.read(1):
            bits.read(4)


def _check_frame(bits: BitReader, sequence: Sequence) -> None:
    """Check a frame header (5.9.2), up to the flag that overrides the frame size."""
    if sequence.reduced:
        return
    repeats, kind, show_frame = bits.read(1), bits.read(2), bits.read(1)
    if repeats or kind != KEY_FRAME or not show_frame:
        raise ValueError("the frame is not a visible key frame")
    bits.read(1)
    screen_tools = bits.read(1) if sequence.screen_tools == CHOOSE else sequence.screen_tools
    if screen_tools and sequence.integer_vectors == CHOOSE:
        bits.read(1)
    bits.read(sequence.frame_id_bits)
    if bits.read(1):
        raise ValueError("the frame overrides the size of the sequence")


MAX_ENTRIES: Final = (
    1000  # boxes in a box, and items: a grid has up to 256 cells, each with its alpha
)
MAX_EXTENTS: Final = 100  # of an item; encoders write one

Box: TypeAlias = tuple[bytes, memoryview]
Extent: TypeAlias = tuple[int, int, int]  # index of the source, offset, length in bytes


class Picture(NamedTuple):
    """The size of an item's frame, and all sizes that the container declares for it."""

    size: Size
    declared: set[Size]


def pictures(data: bytes) -> list[Picture]:
    """Return every picture that may be decoded. Raises ValueError if that is ambiguous."""
    whole = memoryview(data)
    meta = list(_boxes(_single_box(list(_boxes(whole)), b"meta")[4:]))
    declared, extents = (
        _declared_sizes(_single_box(meta, b"iprp")),
        _extents(_single_box(meta, b"iloc")),
    )
    sources = [whole, *(body for kind, body in meta if kind == b"idat")]
    found, remaining = [], len(data)
    for item, kind in _items(_single_box(meta, b"iinf")).items():
        if kind not in (b"av01", b"grid"):
            continue
        content = _content(extents.get(item, []), sources, remaining)
        remaining -= len(content)
        size = frame_size(content) if kind == b"av01" else _canvas(BitReader(content))
        found.append(Picture(size, declared.get(item, set())))
    if not found:
        raise ValueError("the file contains no AV1 image")
    return found


def _boxes(data: memoryview) -> Iterator[Box]:
    offset = 0
    for _ in range(MAX_ENTRIES):
        if offset == len(data):
            return
        bits = BitReader(data[offset : offset + 16])
        size, kind, head = bits.read(32), bits.read(32).to_bytes(4), 8
        if size == 1:
            size, head = bits.read(64), 16
        elif size == 0:
            size = len(data) - offset
        if not head <= size <= len(data) - offset:
            raise ValueError("the file is truncated")
        yield kind, data[offset + head : offset + size]
        offset += size
    raise ValueError(f"the file has more than {MAX_ENTRIES} boxes in a row")


def _single_box(boxes: list[Box], box_type: bytes) -> memoryview:
    found = [body for kind, body in boxes if kind == box_type]
    if len(found) != 1:
        raise ValueError(
            f"the file has {len(found)} boxes of type {box_type.decode()} instead of 1"
        )
    return found[0]


def _number(bits: BitReader, size: int, max_value: int, name: str) -> int:
    number = bits.read(size)
    if number > max_value:
        raise ValueError(f"the file has {number:,} {name}; the limit is {max_value:,}")
    return number


def _items(iinf: memoryview) -> dict[int, bytes]:
    """Return the type of each item."""
    items: dict[int, bytes] = {}
    for _, infe in _boxes(iinf[8 if BitReader(iinf).read(8) else 6 :]):
        bits = BitReader(infe)
        version, _flags = bits.read(8), bits.read(24)
        if version not in (2, 3):
            raise ValueError("the list of items has a version that is not for images")
        item, _protection = bits.read(16 if version == 2 else 32), bits.read(16)
        if item in items:
            raise ValueError("two items have the same number")
        items[item] = bits.read(32).to_bytes(4)
    return items


def _declared_sizes(iprp: memoryview) -> dict[int, set[Size]]:
    """Return the declared sizes of each item."""
    parts = list(_boxes(iprp))
    properties = [set[Size](), *(_ispe_size(*box) for box in _boxes(_single_box(parts, b"ipco")))]
    declared: dict[int, set[Size]] = {}
    for bits in (BitReader(body) for kind, body in parts if kind == b"ipma"):
        version, flags = bits.read(8), bits.read(24)
        for _ in range(_number(bits, 32, MAX_ENTRIES, "items")):
            item = bits.read(32 if version else 16)
            for _ in range(bits.read(8)):
                _essential, index = bits.read(1), bits.read(15 if flags & 1 else 7)
                if index >= len(properties):
                    raise ValueError("an item refers to a property that does not exist")
                declared[item] = declared.get(item, set()) | properties[index]
    return declared


def _ispe_size(kind: bytes, content: memoryview) -> set[Size]:
    bits = BitReader(content[4:])
    return {(bits.read(32), bits.read(32))} if kind == b"ispe" else set()


def _extents(iloc: memoryview) -> dict[int, list[Extent]]:
    """Return the extents of each item, in order."""
    bits = BitReader(iloc)
    version, _flags = bits.read(8), bits.read(24)
    if version > 2:
        raise ValueError("the list of item locations has an unknown version")
    offset_bits, length_bits, base_bits, index_bits = (8 * bits.read(4) for _ in range(4))
    item_bits = 32 if version == 2 else 16
    items: dict[int, list[Extent]] = {}
    for _ in range(_number(bits, item_bits, MAX_ENTRIES, "items")):
        item = bits.read(item_bits)
        if item in items:
            raise ValueError("an item has two locations")
        source = bits.read(16) & 15 if version else 0
        _file, base = bits.read(16), bits.read(base_bits)
        items[item] = []
        for _ in range(_number(bits, 16, MAX_EXTENTS, "parts of an item")):
            bits.read(index_bits if version else 0)
            start = base + bits.read(offset_bits)
            items[item].append((source, start, bits.read(length_bits)))
    return items


def _content(extents: list[Extent], sources: list[memoryview], remaining: int) -> memoryview:
    """Return an item's bytes. All items together may use no more than `remaining` bytes."""
    parts = []
    for source, start, size in extents:
        remaining -= size
        if source >= len(sources) or len(sources) > 2:
            raise ValueError("an item has an unknown location")
        if start + size > len(sources[source]) or remaining < 0:
            raise ValueError("the file is truncated")
        parts.append(sources[source][start : start + size])
    return memoryview(b"".join(parts))


def _canvas(bits: BitReader) -> Size:
    """Return the size of the canvas to which a grid's cells are copied (6.6.2.3.2)."""
    _version, flags, _rows, _columns = (bits.read(8) for _ in range(4))
    size = 32 if flags & 1 else 16
    return bits.read(size), bits.read(size)
