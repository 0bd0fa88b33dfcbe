"""AVIF containers and AV1 headers: the true size of every frame.

libavif makes a frame of the size that is in the frame, whatever the container says, and scales it
afterwards; Pillow hands on no limit of its. So the bytes of the frames are found here as there,
and what is ambiguous is refused. Boxes are those of ISO/IEC 14496-12 (4.2, 8.11), their contents
those of ISO/IEC 23008-12 (6.5.3, 6.6.2.3, 9.3).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

Size: TypeAlias = tuple[int, int]  # width, height

# Of OBUs. A redundant header is taken for a frame's by decoders that have seen none before it.
SEQUENCE: Final = 1
FRAMES: Final = (3, 6, 7)
MAX_OBUS: Final = 100  # of a picture; encoders write two to four
CHOOSE: Final = 2  # of a tool: each frame says whether it is used
KEY_FRAME: Final = 0


class Sequence(NamedTuple):
    """What a sequence header says, of which a frame's header cannot be read without the rest."""

    size: Size
    reduced: bool = True  # and then all frames are of this size
    frame_id_bits: int = 0  # bits in which a frame is numbered
    screen_tools: int = CHOOSE
    integer_vectors: int = CHOOSE


class BitReader:
    """Numbers of so many bits each, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0

    def read(self, count: int) -> int:
        """Read the next; raises ValueError where there are no more."""
        first, self.position = self.position // 8, self.position + count
        if self.position > 8 * len(self.data):
            raise ValueError("it is cut off")
        value = int.from_bytes(self.data[first : (self.position + 7) // 8])
        return value >> -self.position % 8 & ((1 << count) - 1)


def frame_size(data: memoryview) -> Size:
    """Find the size of the one frame; raises ValueError where there may be others."""
    sequence: Sequence | None = None
    frames = 0
    for kind, body in _obus(data):
        if kind == SEQUENCE:
            found = _sequence(BitReader(body))
            if sequence not in (None, found):
                raise ValueError("its frames are not all of one size")
            sequence = found
        elif kind in FRAMES:
            frames += 1
            if sequence is None:
                raise ValueError("a frame comes before the header that says its size")
            _check_frame(BitReader(body), sequence)
    if sequence is None or frames != 1:
        raise ValueError(f"it has {frames} frames in a picture, where a still image has 1")
    return sequence.size


def _obus(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Take it apart (5.3)."""
    bits = BitReader(data)
    for _ in range(MAX_OBUS):
        if bits.position == 8 * len(data):
            return
        kind, extended, sized = bits.read(5), bits.read(1), bits.read(1)
        bits.read(9 if extended else 1)
        size = _leb128(bits) if sized else len(data) - bits.position // 8
        start = bits.position // 8
        if size > len(data) - start:
            raise ValueError("it is cut off")
        yield kind & 15, data[start : start + size]
        bits.position += 8 * size
    raise ValueError(f"a picture has more than {MAX_OBUS} parts")


def _leb128(bits: BitReader) -> int:
    size = 0
    for shift in range(0, 56, 7):
        more = bits.read(1)
        size |= bits.read(7) << shift
        if not more:
            return size
    raise ValueError("a part is longer than AV1 allows")


def _sequence(bits: BitReader) -> Sequence:
    """Read a sequence header (5.5.1), as far as the size of its frames depends on it."""
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
    if bits.read(1):  # order of frames
        bits.read(2)
    screen_tools = CHOOSE if bits.read(1) else bits.read(1)
    chosen = screen_tools == 0 or bits.read(1)
    integer_vectors = CHOOSE if chosen else bits.read(1)
    return Sequence(size, False, frame_id_bits, screen_tools, integer_vectors)


def _operating_points(bits: BitReader) -> None:
    if bits.read(1):
        raise ValueError("its frames are timed, which a still image's are not")
    delayed = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delayed and bits.read(1):
            bits.read(4)


def _check_frame(bits: BitReader, sequence: Sequence) -> None:
    """Read a frame's header (5.9.2) as far as the flag that gives it a size of its own."""
    if sequence.reduced:
        return
    repeats, kind, show_frame = bits.read(1), bits.read(2), bits.read(1)
    if repeats or kind != KEY_FRAME or not show_frame:
        raise ValueError("its frame is no key frame that is shown")
    bits.read(1)
    screen_tools = bits.read(1) if sequence.screen_tools == CHOOSE else sequence.screen_tools
    if screen_tools and sequence.integer_vectors == CHOOSE:
        bits.read(1)
    bits.read(sequence.frame_id_bits)
    if bits.read(1):
        raise ValueError("its frame has a size of its own")


MAX_ENTRIES: Final = (
    1000  # boxes in a box, and items: a grid has up to 256 cells, each with its alpha
)
MAX_EXTENTS: Final = 100  # of an item; encoders write one

Box: TypeAlias = tuple[bytes, memoryview]
Extent: TypeAlias = tuple[int, int, int]  # in which source, from where on, how many bytes


class Picture(NamedTuple):
    """What is made of an item, and all that the container says that it is."""

    size: Size
    declared: set[Size]


def pictures(data: bytes) -> list[Picture]:
    """Measure all that may be decoded; raises ValueError where that cannot be told."""
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
        raise ValueError("there is no AV1 in it")
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
            raise ValueError("it is cut off")
        yield kind, data[offset + head : offset + size]
        offset += size
    raise ValueError(f"it has more than {MAX_ENTRIES} boxes in a row")


def _single_box(boxes: list[Box], box_type: bytes) -> memoryview:
    found = [body for kind, body in boxes if kind == box_type]
    if len(found) != 1:
        raise ValueError(
            f"it has {len(found)} boxes of type {box_type.decode()}, where one belongs"
        )
    return found[0]


def _number(bits: BitReader, size: int, max_value: int, name: str) -> int:
    number = bits.read(size)
    if number > max_value:
        raise ValueError(f"it has {number:,} {name}, and {max_value:,} would be many")
    return number


def _items(iinf: memoryview) -> dict[int, bytes]:
    """Return the type of each item."""
    items: dict[int, bytes] = {}
    for _, infe in _boxes(iinf[8 if BitReader(iinf).read(8) else 6 :]):
        bits = BitReader(infe)
        version, _flags = bits.read(8), bits.read(24)
        if version not in (2, 3):
            raise ValueError("its items are listed in a form that is not for images")
        item, _protection = bits.read(16 if version == 2 else 32), bits.read(16)
        if item in items:
            raise ValueError("two of its items have one number")
        items[item] = bits.read(32).to_bytes(4)
    return items


def _declared_sizes(iprp: memoryview) -> dict[int, set[Size]]:
    """Return the sizes that each item is said to have."""
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
                    raise ValueError("an item has a property that is not there")
                declared[item] = declared.get(item, set()) | properties[index]
    return declared


def _ispe_size(kind: bytes, content: memoryview) -> set[Size]:
    bits = BitReader(content[4:])
    return {(bits.read(32), bits.read(32))} if kind == b"ispe" else set()


def _extents(iloc: memoryview) -> dict[int, list[Extent]]:
    """Return the places of each item's bytes, as they follow on each other."""
    bits = BitReader(iloc)
    version, _flags = bits.read(8), bits.read(24)
    if version > 2:
        raise ValueError("it says in an unknown form where its items are")
    offset_bits, length_bits, base_bits, index_bits = (8 * bits.read(4) for _ in range(4))
    item_bits = 32 if version == 2 else 16
    items: dict[int, list[Extent]] = {}
    for _ in range(_number(bits, item_bits, MAX_ENTRIES, "items")):
        item = bits.read(item_bits)
        if item in items:
            raise ValueError("an item is in two places")
        source = bits.read(16) & 15 if version else 0
        _file, base = bits.read(16), bits.read(base_bits)
        items[item] = []
        for _ in range(_number(bits, 16, MAX_EXTENTS, "parts of an item")):
            bits.read(index_bits if version else 0)
            start = base + bits.read(offset_bits)
            items[item].append((source, start, bits.read(length_bits)))
    return items


def _content(extents: list[Extent], sources: list[memoryview], remaining: int) -> memoryview:
    """Put an item together, which takes no more of the file than others have left."""
    parts = []
    for source, start, size in extents:
        remaining -= size
        if source >= len(sources) or len(sources) > 2:
            raise ValueError("an item is in no place that is known")
        if start + size > len(sources[source]) or remaining < 0:
            raise ValueError("it is cut off")
        parts.append(sources[source][start : start + size])
    return memoryview(b"".join(parts))


def _canvas(bits: BitReader) -> Size:
    """Read what a grid's cells are copied to (6.6.2.3.2)."""
    _version, flags, _rows, _columns = (bits.read(8) for _ in range(4))
    size = 32 if flags & 1 else 16
    return bits.read(size), bits.read(size)
