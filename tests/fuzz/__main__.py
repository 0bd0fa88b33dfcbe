"""Fuzzing: `python -m tests.fuzz --seconds 60 --seed 1`, or `make fuzz SECONDS=3600`.

It prints how many inputs it sent. An input that breaks a guarantee goes to `tests/corpus/`, which
the tests replay.

Each target runs in its own process, since an input may crash it. The seed, the target and `n` alone
determine input `n`, so it can be drawn again after a crash.
"""

import argparse
import faulthandler
import hashlib
import logging
import mmap
import multiprocessing
import os
import random
import resource
import struct
import sys
import time
from pathlib import Path

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[1] / "corpus"
GROWTH = 1.5  # of resident memory, over that after the first inputs
WARM_UP_INPUTS = 2000
CHECK_INTERVAL = 500
INPUT_TIMEOUT = 90  # seconds for one input before it counts as endless
MEMORY = 2 * 1024**3
COUNT = struct.Struct("<QQQ")  # inputs begun; resident bytes when warm, and at most


def corpus_inputs(target: str) -> list[bytes]:
    """Return what the corpus has for a target."""
    return [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]


def main() -> int:
    args = _arguments()
    seed = args.seed if args.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}; the same again: python -m tests.fuzz --seed {seed}", flush=True)
    targets = args.targets or list(TARGETS)
    share = args.seconds / len(targets)
    return max(_fuzz(target, seed, share, args.inputs, args.first) for target in targets)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []])
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--inputs", type=int, default=2**60, help="at most, of each target")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    return parser.parse_args()


def _fuzz(target: str, seed: int, seconds: float, inputs: int, first: int) -> int:
    """Fuzz one target in a process of its own; 0 where nothing was found."""
    shared = mmap.mmap(-1, COUNT.size)
    started = time.monotonic()
    arguments = (target, seed, seconds, inputs, first, shared)
    process = multiprocessing.get_context("fork").Process(target=_run, args=arguments)
    process.start()
    process.join()
    number, warm, peak = COUNT.unpack(shared[:])
    elapsed = time.monotonic() - started
    memory = f"{warm / 2**20:.0f} MiB warm, {peak / 2**20:.0f} MiB at most"
    if not warm:
        memory = f"its memory is judged from {WARM_UP_INPUTS} inputs on"
    done = number - first
    print(f"{target}: {done} inputs, {done / elapsed:.0f} a second, {memory}", flush=True)
    if process.exitcode == 0:
        return 0
    if warm and peak > GROWTH * warm:
        print(f"{target}: resident memory grew over {GROWTH} times", flush=True)
        return 1
    if number == first:
        print(f"{target}: could not begin", flush=True)
        return 1
    print(f"{target}: input {number - 1} of seed {seed} broke a promise: {process.exitcode}")
    print(f"{target}: kept as {_save(target, _input(target, seed, number - 1))}", flush=True)
    return 1


def _run(
    target: str, seed: int, seconds: float, inputs: int, first: int, shared: mmap.mmap
) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY + _data(), resource.RLIM_INFINITY))
    logging.disable(logging.CRITICAL)  # of each refused form there would be a line,
    sys.stderr = os.fdopen(os.dup(2), "w")  # and of each broken TIFF one from its decoder
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    open_target, make_seeds = TARGETS[target]
    seeds = make_seeds() + corpus_inputs(target)
    deadline, warm, peak, number = time.monotonic() + seconds, 0, 0, first
    with open_target() as check:
        while time.monotonic() < deadline and number < first + inputs:
            shared[:] = COUNT.pack(number + 1, warm, peak)
            faulthandler.dump_traceback_later(INPUT_TIMEOUT, exit=True, file=sys.stderr)
            check(draw_input(seeds, target, seed, number))
            number += 1
            if (number - first) % CHECK_INTERVAL == 0 and number - first >= WARM_UP_INPUTS:
                resident = _resident()
                warm, peak = warm or resident, max(peak, resident)
                if peak > GROWTH * warm:
                    break
        faulthandler.cancel_dump_traceback_later()
    shared[:] = COUNT.pack(number, warm, peak)
    sys.exit(1 if peak > GROWTH * warm else 0)


def _input(target: str, seed: int, number: int) -> bytes:
    seeds = TARGETS[target][1]() + corpus_inputs(target)
    return draw_input(seeds, target, seed, number)


def draw_input(seeds: list[bytes], target: str, seed: int, number: int) -> bytes:
    """Draw an input from the seed, the target and its number alone."""
    return mutate(seeds, random.Random(f"{seed} {target} {number}"))


def _save(target: str, data: bytes) -> Path:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _data() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))


if __name__ == "__main__":
    sys.exit(main())
