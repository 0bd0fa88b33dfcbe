"""Events and jobs that the store records in a second, on SQLite and on PostgreSQL.

Both lie on the same disk, and both have what they are told on it before they say so. Writers are
processes, as trainings are; each tells of a job of its own. Rounds are interleaved.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from app.database.store import Store
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from tests.postgres import running

ROUNDS: Final = 3
SECONDS: Final = 1.5
WRITERS: Final = (1, 4)
TOLD: Final = {"epoch": 0, "batch": 100, "loss": 1.97}
Work = Callable[[Store, str], object]


def main() -> Iterator[str]:
    """Measure, and give the lines of the report."""
    rates: dict[tuple[str, str, int], list[float]] = {}
    with TemporaryDirectory() as folder, running() as server:
        for number in range(ROUNDS):
            for writers in WRITERS:
                for what in WORK:
                    sqlite = f"sqlite:///{Path(folder) / f'{number}-{writers}-{what}.db'}"
                    for name, url in (("SQLite", sqlite), ("PostgreSQL", server.fresh())):
                        rate = measure(url, what, writers)
                        rates.setdefault((what, name, writers), []).append(rate)
    yield "## Databases (`python -m bench database`)"
    yield ""
    yield (
        f"What the store records in a second, every change on disk before it counts; {ROUNDS} "
        f"rounds of {SECONDS} s, interleaved; medians, with the least and the most. A training "
        "tells of some ten events a second."
    )
    yield ""
    yield "| | writers | SQLite | PostgreSQL | ratio |"
    yield "|---|---|---|---|---|"
    for what in WORK:
        for writers in WRITERS:
            yield line(what, writers, rates)


def line(what: str, writers: int, rates: dict[tuple[str, str, int], list[float]]) -> str:
    """Give a line of the table."""
    one, other = (rates[what, name, writers] for name in ("SQLite", "PostgreSQL"))
    shown = [f"{median(each):.0f} ({min(each):.0f} to {max(each):.0f})" for each in (one, other)]
    ratio = median(b / a for a, b in zip(one, other, strict=True))
    return f"| {what} | {writers} | {' | '.join(shown)} | {ratio:.1f} |"


def measure(url: str, what: str, writers: int) -> float:
    """Let so many processes write for a while, and give how often they did in a second."""
    with closing(Store(url)) as store:
        names = [queue(store) for _ in range(writers)]
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(writers)
    done = context.SimpleQueue()
    processes = [
        context.Process(target=write, args=(url, what, name, start, done)) for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes)
    return sum(done.get() for _ in processes)


def write(url: str, what: str, name: str, start, done) -> None:
    """Write for a while, and say how often a second that was."""
    count = 0
    with closing(Store(url)) as store:
        WORK[what](store, name)
        start.wait()
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            WORK[what](store, name)
            count += 1
        done.put(count / (time.monotonic() - began))


def queue(store: Store, _name: str = "") -> str:
    """Queue a job."""
    return jobs.create(store, Hyperparameters(), most_queued=10**9, key=None).id


def tell(store: Store, name: str) -> None:
    """Tell of a job, as a training does."""
    store.change_job(name, values={"progress": TOLD}, told=[("batch", TOLD)])


WORK: Final[dict[str, Work]] = {"events": tell, "jobs": queue}
