"""Numbered objects in a bucket, and the append-only log of the live version."""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from app.versions.bucket.object_store import Bucket

MAX_ENTRIES: Final = 400


class ObjectSequence:
    """The objects of a bucket whose names are a number between `before` and `after`.

    Old objects, which many others have followed, are deleted if they are empty; with `fleeting`,
    all old ones.
    """

    def __init__(
        self, bucket: Bucket, before: str, after: str, *, digits: int = 1, fleeting: bool = False
    ) -> None:
        self.bucket = bucket
        self.before, self.after, self.digits = before, after, digits
        self.prune_old = fleeting
        self._pattern = re.compile(rf"{re.escape(before)}0*([1-9]\d{{0,9}}){re.escape(after)}")

    def name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}}{self.after}"

    def among(self, sizes: Mapping[str, int]) -> dict[int, int]:
        """Return the numbers in use, with the sizes of their objects."""
        found = ((self._pattern.fullmatch(name), size) for name, size in sizes.items())
        numbers = {int(match[1]): size for match, size in found if match}
        return {number: size for number, size in numbers.items() if self.name(number) in sizes}

    def claim(self, number: int, content: bytes) -> bool:
        """Claim a number; return False if it is or was taken. Raises BucketUnavailable."""
        if not self.bucket.create(self.name(number), content):
            return False
        numbers = self.among(self.bucket.sizes())
        # An object with this number may have been deleted, but no recent object ever is.
        if number <= max(numbers) - MAX_ENTRIES:
            self.bucket.remove([self.name(number)])
            return False
        self._delete_old(numbers)
        return True

    def _delete_old(self, numbers: Mapping[int, int]) -> None:
        old = (n for n in sorted(numbers) if n <= max(numbers) - MAX_ENTRIES)
        self.bucket.remove(self.name(n) for n in old if self.prune_old or not numbers[n])


class LiveLogEntry(NamedTuple):
    """An entry of the log: the live history, newest first, and the versions that it deletes."""

    number: int = 0
    history: Sequence[int] = ()
    gone: Sequence[int] = ()

    @classmethod
    def read(cls, number: int, content: bytes) -> "LiveLogEntry":
        lines = content.decode("ascii", "replace").splitlines()
        numbers = [int(line) for line in lines if re.fullmatch(r"-?[1-9]\d{0,9}", line)]
        gone = [-number for number in numbers if number < 0]
        return cls(number, [number for number in numbers if number > 0], gone)

    def to_bytes(self) -> bytes:
        going = (-version for version in self.gone)
        lines = [*self.history, *going, f"# {secrets.token_hex(8)}"]
        return "".join(f"{line}\n" for line in lines).encode()
