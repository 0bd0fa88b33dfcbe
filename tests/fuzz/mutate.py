"""Mutations of files and requests for fuzzing."""

from collections.abc import Sequence
from random import Random
from typing import Final

SIZES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TOKENS: Final = (
    *(b"\r\n", b"\r\n\r\n", b"--", b"\0", b"\xff\xff", b"\xff\xda", b"\xff\xd9", b'"', b";", b"="),
    *(b"%", b"../", b"[" * 300, b"{", b"}", b"1e999", b"NaN", b"-1", b"9" * 40, b"\xed\xa0\x80"),
    *(b"null", b"true", b"\\u0000", b"\\ud800", b"chunked", b"\xf0\x9f\x92\xa9", b" ", b"\t", b":"),
)
MAX_BYTES: Final = 64 * 1024
MAX_STEPS: Final = 4  # steps from a seed


def mutate(seeds: Sequence[bytes], random: Random) -> bytes:
    """Bend one of the seeds, in one step or a few."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(0, MAX_STEPS)):
        random.choice(STEPS)(data, seeds, random)
    return bytes(data[:MAX_BYTES])


def _place(data: bytearray, random: Random) -> int:
    # Headers are where the lies are: every other step is near the beginning.
    max_position = min(len(data), 64) if random.random() < 0.5 else len(data)
    return random.randint(0, max_position)


def _flip(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    position = _place(data, random)
    data[position : position + 1] = bytes([random.getrandbits(8)])


def _size(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    position, length = _place(data, random), random.choice((1, 2, 4, 8))
    size = random.choice(SIZES) % (1 << 8 * length)
    data[position : position + length] = size.to_bytes(length, random.choice(("little", "big")))


def _token(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    position = _place(data, random)
    data[position:position] = random.choice(TOKENS)


def _cut(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    del data[_place(data, random) :]


def _leave_out(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    position = _place(data, random)
    del data[position : position + random.randint(1, 32)]


def _repeat(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    position = _place(data, random)
    data[position:position] = data[position : position + random.randint(1, 64)] * random.choice(
        (1, 2, 50)
    )


def _splice(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    other = random.choice(seeds)
    data[_place(data, random) :] = other[random.randint(0, len(other)) :]


STEPS: Final = (_flip, _flip, _size, _size, _token, _cut, _leave_out, _repeat, _splice)
