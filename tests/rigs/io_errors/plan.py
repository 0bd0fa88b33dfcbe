"""The numbers that the rig shares with `fail_io.c`: which call fails, how, and what happened."""

import errno
import mmap
import os
import random
import struct
from pathlib import Path
from typing import Final, NamedTuple

SHORT_WRITE: Final = -1
HOW: Final = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "short write": SHORT_WRITE}
FORMAT: Final = struct.Struct("qqqq16s488s")


class Fault(NamedTuple):
    """The call that fails, counted from 1, and how; a short write counts writes alone."""

    number: int
    how: str

    def __str__(self) -> str:
        calls = "write" if self.how == "short write" else "call"
        return f"{self.how} of {calls} {self.number}"


class Counts(NamedTuple):
    """The calls below the folder, and how many of them were writes."""

    calls: int
    writes: int

    def draw(self, draw: random.Random, count: int) -> list[Fault]:
        """Return so many of the ways in which one of the calls can fail, or all of them."""
        last = {how: self.writes if how == "short write" else self.calls for how in HOW}
        faults = [Fault(number, how) for how in HOW for number in range(1, last[how] + 1)]
        return draw.sample(faults, min(count, len(faults)))


class Failed(NamedTuple):
    """The call that failed, such as `write`, and its path; both are empty if none did."""

    call: str
    path: str


class Plan:
    """The memory that the library maps, too, in this process and in its children."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), FORMAT.size)

    @staticmethod
    def create(path: Path) -> None:
        path.write_bytes(bytes(FORMAT.size))

    def arm(self, fault: Fault | None = None) -> None:
        """Count from 0, and let one call fail."""
        number, how = (fault.number, HOW[fault.how]) if fault else (0, 0)
        self._memory[:] = FORMAT.pack(number, how, 0, 0, b"", b"")

    def disarm(self) -> tuple[Counts, Failed]:
        """Stop the failures, and return the counts so far, and the call that failed."""
        _, _, calls, writes, call, path = FORMAT.unpack(self._memory)
        self.arm()
        texts = (text.rstrip(b"\0").decode() for text in (call, path))
        return Counts(calls, writes), Failed(*texts)


def environment(library: Path, plan: Path, folder: Path) -> dict[str, str]:
    """Return the environment of a process in which calls below `folder` can fail."""
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAIL_IO_PLAN": str(plan),
        "FAIL_IO_FOLDER": str(folder),
    }
