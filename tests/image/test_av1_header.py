"""What of a bitstream says how large its frame is, and what would let it be another size."""

import pytest

from app.image.avif import frame_size


def packed(bits):
    return bytes(int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8))


def obu(kind, bits):
    return bytes([kind << 3 | 2, len(packed(bits))]) + packed(bits)


def size(width, height):
    return f"11111111{width - 1:016b}{height - 1:016b}"


def sequence(
    *, points="00000" + "0" * 17, timed="00", numbered="0", order="0", tools="11", height=28
):
    return obu(1, f"00000{timed}{points}{size(300, height)}{numbered}0000000{order}{tools}")


REDUCED = obu(1, "0001100000" + size(300, 28))
SEQUENCE = sequence()
KEY = obu(6, "00010001111")
DELAYED = f"00001{'0' * 12}01000" + "1" + "11010" + f"{'0' * 12}00111" + "0"
VALID_STREAMS = {
    "reduced": REDUCED + obu(6, "1"),
    "after_a_delimiter": obu(2, "") + REDUCED + obu(6, "1") + obu(5, "1" * 16),
    "full": SEQUENCE + KEY,
    "in_groups_of_tiles": SEQUENCE + obu(3, "0001000") + obu(4, "1") * 9,
    "said_twice": SEQUENCE + SEQUENCE + KEY,
    "numbered": sequence(numbered="10001001") + obu(6, "000100" + "11111" + "0"),
    "in_order": sequence(order="111") + KEY,
    "for_screens": sequence(tools="0111") + obu(6, "00010" + "1" + "0"),
    "for_screens_in_whole_pixels": sequence(tools="0101") + obu(6, "00010" + "0"),
    "for_no_screen": sequence(tools="00") + obu(6, "00010" + "0"),
    "with_whole_pixels_where_for_screens": sequence(tools="101") + obu(6, "00010" + "1" + "0"),
    "of_two_points": sequence(timed="01", points=DELAYED) + KEY,
    "extended": SEQUENCE + b"\x36\xff" + KEY[1:],
    "to_the_end": SEQUENCE + bytes([6 << 3]) + KEY[2:],
    "of_a_long_length": SEQUENCE + b"\x32\x82\x80\x80\0" + KEY[2:],
}
INVALID_STREAMS = {
    "of_its_own_size": (SEQUENCE + obu(6, "000100" + "1"), "overrides the size"),
    "of_its_own_size_after_tools": (SEQUENCE + obu(6, "000101" + "0" + "1"), "overrides the size"),
    "of_its_own_size_after_a_number": (
        sequence(numbered="10000000") + obu(6, "000100" + "000" + "1"),
        "overrides the size",
    ),
    "repeated": (SEQUENCE + obu(6, "1001000"), "not a visible key frame"),
    "between": (SEQUENCE + obu(6, "0011000"), "not a visible key frame"),
    "switched": (SEQUENCE + obu(6, "0111000"), "not a visible key frame"),
    "hidden": (SEQUENCE + obu(6, "0000000"), "not a visible key frame"),
    "two": (REDUCED + obu(6, "1") * 2, "2 frames"),
    "a_header_and_a_frame": (REDUCED + obu(3, "1") + obu(6, "1"), "2 frames"),
    "a_redundant_header_and_a_frame": (REDUCED + obu(7, "1") + obu(6, "1"), "2 frames"),
    "none": (REDUCED, "0 frames"),
    "nothing": (b"", "0 frames"),
    "before": (obu(6, "1") + REDUCED, "comes before"),
    "of_two_sizes": (SEQUENCE + KEY + sequence(height=29), "differ in size"),
    "timed": (sequence(timed="10") + KEY, "timing information"),
    "cut_off": ((SEQUENCE + KEY)[:-1], "truncated"),
    "cut_off_in_its_header": (obu(1, "00011000001111") + obu(6, "1"), "truncated"),
    "of_many_parts": (REDUCED + obu(5, "") * 99 + obu(6, "1"), "more than 100"),
    "of_a_length_without_end": (SEQUENCE + b"\x32" + b"\x80" * 8 + b"\0", "longer"),
}


@pytest.mark.parametrize("stream", VALID_STREAMS.values(), ids=VALID_STREAMS)
def test_one_frame_has_the_size_of_its_sequence(stream):
    assert frame_size(memoryview(stream)) == (300, 28)


@pytest.mark.parametrize(("stream", "message"), INVALID_STREAMS.values(), ids=INVALID_STREAMS)
def test_what_may_be_another_size_is_refused(stream, message):
    with pytest.raises(ValueError, match=message):
        frame_size(memoryview(stream))
