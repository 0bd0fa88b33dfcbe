"""Faults for the chaos test: each one damages a service, and repairs what only an operator could.

A fault takes a scene, and returns how many defects its own checks found.
"""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from tests.rigs.chaos.file_damage import Fault, current, flip_bit, live_weights, other_weights
from tests.rigs.chaos.target import Scene, has_compiler, is_root
from tests.service.running import wait_until

FAULT_SECONDS: Final = 5.0


def worker(scene: Scene) -> int:
    """kill -9 of the worker that does not supervise."""
    supervisor, went_live = parent_of(scene.service.trainings[-1]), scene.service.went_live
    kill(next(pid for pid in scene.service.workers if pid != supervisor))
    scene.extra_check = lambda: scene.service.went_live > went_live
    return 0


def supervisor(scene: Scene) -> int:
    """kill -9 of the worker that supervises."""
    kill(parent_of(scene.service.trainings[-1]))
    expect_new_training(scene)
    return 0


def server(scene: Scene) -> int:
    """kill -9 of the parent of all workers; its process manager starts it again."""
    scene.service.end(signal.SIGKILL)
    scene.start()
    return 0


def training(scene: Scene) -> int:
    """kill -9 of the training process."""
    kill(scene.service.trainings[-1])
    expect_new_training(scene)
    return 0


def expect_new_training(scene: Scene) -> None:
    trainings = len(scene.service.trainings)
    scene.extra_check = lambda: len(scene.service.trainings) > trainings


def full_disk(scene: Scene) -> int:
    """No room while a job trains, versions are uploaded and jobs are asked for."""
    filler = scene.state / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    send_writes(scene)
    filler.unlink(missing_ok=True)
    return 0


def read_only(scene: Scene) -> int:
    """Make the state folder read-only."""
    modes = {path: path.stat().st_mode for path in (scene.state, *scene.state.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    send_writes(scene)
    for path, mode in modes.items():
        if path.exists():
            path.chmod(mode)
    return 0


def send_writes(scene: Scene) -> None:
    weights = (scene.state / "models" / "2.safetensors").read_bytes()
    deadline = time.monotonic() + FAULT_SECONDS
    scene.ask("POST", "/models", weights)
    while time.monotonic() < deadline:
        scene.train(epochs=1)
        scene.ask("PUT", "/models/current", b'{"version": 3}')
        time.sleep(0.5)


def database(corrupt: Callable[[Path], None], *, stopped: bool = False) -> Fault:
    """The database is damaged, while the service runs or before it starts."""

    def fault(scene: Scene) -> int:
        if stopped:
            scene.service.end()
        file = scene.state / "mynet.db"
        corrupt(file)
        scene.extra_check = lambda: is_intact(file)
        if stopped:
            scene.start()
        return 0

    return fault


def is_intact(file: Path) -> bool:
    """Return whether the database file is sound: the service may not have read the damage yet."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM jobs")
            return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def garbage(file: Path) -> None:
    """A header and pages that mean nothing, in the log of late writes, too."""
    for path in (file, Path(f"{file}-wal")):
        if path.exists():
            with path.open("r+b") as stream:
                for offset in range(0, path.stat().st_size, 4096):
                    stream.seek(offset)
                    stream.write(os.urandom(512))


def truncate(file: Path) -> None:
    os.truncate(file, 5000)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def locked(scene: Scene) -> int:
    """Another process holds the database for longer than the service waits for it."""
    with closing(sqlite3.connect(scene.state / "mynet.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        scene.train(epochs=1)
        time.sleep(FAULT_SECONDS)
        connection.execute("ROLLBACK")
    return 0


def clock(seconds: int) -> Fault:
    """The time of day is put forward or back by hours, and then put right."""

    def fault(scene: Scene) -> int:
        scene.clock(seconds)
        recovery_seconds = scene.wait()
        job = scene.train(epochs=1)
        scene.clock(0)
        return int(recovery_seconds > 60 or job is None)

    return fault


def device(scene: Scene) -> int:
    """The device raises for a while: see `tests.rigs.chaos.device_loss`."""
    marker = scene.state / "lost"
    marker.touch()
    time.sleep(2)
    is_told = wait_until(lambda: is_lost(scene), 120)
    marker.unlink()
    return (not is_told) + (not wait_until(lambda: not is_lost(scene), 120))


def is_lost(scene: Scene) -> bool:
    return bool(scene.ask("GET", "/health/ready").body["lost"])


def parent_of(process: int) -> int:
    command = ["ps", "-o", "ppid=", "-p", str(process)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


ALL: Final[dict[str, Fault]] = {
    "`kill -9` of a worker": worker,
    "`kill -9` of the worker that supervises": supervisor,
    "`kill -9` of the server": server,
    "`kill -9` of the training process": training,
    "`CURRENT` is cut off": current(b""),
    "`CURRENT` is garbage": current(b"\xff\x00 nonsense\n"),
    "`CURRENT` names a missing version": current(b"77\n"),
    "`CURRENT` is gone": current(None),
    "`CURRENT` is garbage at a start": current(b"\x00\x00", stopped=True),
    "a bit of the live weights flips, restart": live_weights(flip_bit),
    "the live weights are cut off, restart": live_weights(lambda whole: whole[:-1000]),
    "a bit of other weights flips": other_weights(flip_bit),
    "other weights have no content": other_weights(lambda _: b""),
    "the database is garbage": database(garbage),
    "the database is cut off": database(truncate),
    "the database has no content": database(empty),
    "the database is gone": database(Path.unlink),
    "the database is garbage at a start": database(garbage, stopped=True),
    "the database is locked": locked,
}
FOR_ROOT: Final[dict[str, Fault]] = {
    "the disk is full": full_disk,
    "nothing can be written": read_only,
}
WITH_CLOCK: Final[dict[str, Fault]] = {
    "the clock goes forward by 5 h": clock(5 * 3600),
    "the clock goes back by 5 h": clock(-5 * 3600),
}


def available() -> dict[str, Fault]:
    """Return the faults that can be had here: some need root, some a C compiler."""
    return ALL | (FOR_ROOT if is_root() else {}) | (WITH_CLOCK if has_compiler() else {})
