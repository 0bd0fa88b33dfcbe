"""Every I/O error in turn: the k-th call below the state folder fails, for each k.

`python -m tests.rigs.io_errors` starts itself again with `fail_io.c` in front of the C library.
`SEED=… CALLS=N` tries N drawn calls of each operation.
"""

import errno
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from app.api.problem_details import WRITE_ERRNOS
from app.errors import ServiceError
from tests.rigs.io_errors.operations import operations

SHORT_WRITE = -1
HOW = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "short write": SHORT_WRITE}
LIBRARY = Path(__file__).with_name("fail_io.c")


class Plan:
    """The numbers that the library shares: which call fails, how, and how many there were."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 24)

    def arm(self, number, how):
        self._memory[:] = struct.pack("qqq", number, how, 0)

    def count(self):
        return struct.unpack("qqq", self._memory)[2]


def main():
    if "FAIL_IO_PLAN" in os.environ:
        sys.exit(try_all(Path(os.environ["FAIL_IO_FOLDER"])))
    if shutil.which("gcc") is None:
        print("gcc is not installed, so no I/O error can be made.")
        sys.exit("CI" in os.environ)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library, plan = folder / "fail_io.so", folder / "plan"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, LIBRARY, "-ldl"], check=True)
        plan.write_bytes(bytes(24))
        (folder / "state").mkdir()
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAIL_IO_PLAN": str(plan),
            "FAIL_IO_FOLDER": str(folder / "state"),
        }
        sys.exit(subprocess.run([sys.executable, "-m", __package__], env=environment).returncode)


def try_all(folder):
    """Try each operation; print what broke a promise, and return how many did."""
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    draw, calls = random.Random(seed), int(os.environ.get("CALLS", 10**6))
    print(f"seed: {seed}")
    plan = Plan(os.environ["FAIL_IO_PLAN"])
    faults = []
    for name, operation in operations(folder).items():
        operation.prepare()
        plan.arm(0, 0)
        operation.act()
        total = plan.count()
        for how in HOW:
            numbers = range(1, total + 1)
            for number in sorted(draw.sample(numbers, min(calls, total))):
                faults += try_one(folder, operation, plan, f"{name}: {how} of call {number}", how)
        print(f"{name}: {total} calls")
    print(*faults, f"{len(faults)} faults", sep="\n")
    return min(len(faults), 1)


def try_one(folder, operation, plan, title, how):
    """Let one call fail; yield the promises that were broken."""
    operation.prepare()
    before, error = operation.count(), None
    plan.arm(int(title.rpartition(" ")[2]), HOW[how])
    try:
        operation.act()
    except Exception as caught:
        error = caught
    plan.arm(0, 0)
    in_words = isinstance(error, ServiceError) or (
        isinstance(error, OSError) and error.errno in WRITE_ERRNOS
    )
    if error and not in_words:
        yield f"{title}: raises {error!r}"
    after = operation.count()
    if after not in (before, before + operation.change):
        yield f"{title}: neither the old state nor the new: {before} -> {after}"
    if error is None and after == before:
        yield f"{title}: a success that did not happen"
    leftovers = [path.name for path in folder.rglob("*.tmp")]
    if leftovers:
        yield f"{title}: leaves {leftovers}"
        for path in [*folder.rglob("*.tmp")]:
            path.unlink()
    if after == before:
        try:
            operation.act()
        except Exception as again:
            yield f"{title}: the next try raises {again!r}"


if __name__ == "__main__":
    main()
