"""Two services of two workers each, on one PostgreSQL and one bucket of SeaweedFS."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final
from unittest.mock import patch

from app.mnist import dataset as mnist
from app.versions.bucket.log import LiveLogEntry, ObjectSequence
from app.versions.bucket.object_store import Bucket
from app.versions.bucket.registry import STEPS
from app.versions.checkpoint import SUFFIX
from tests.buckets.seaweedfs import run_seaweedfs
from tests.conftest import DATA, write_idx
from tests.postgres import FAST_SETTINGS, run_postgres
from tests.rigs.histories.model import Kind, Operation, State
from tests.service.running import Service, run_service

SERVICES: Final = 2
WORKERS: Final = 2
KEEP_VERSIONS: Final = 1000
TRAIN_IMAGES, TEST_IMAGES = 1000, 500
# With more threads, to load a version takes seven times the CPU where many processes share cores.
ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1"}
# To list 400 old entries takes 50 ms of CPU. MyNet deletes them, too, but later.
MAX_ENTRIES: Final = 20


class Deployment:
    """Running services, and the bucket that they share."""

    def __init__(self, services: list[Service], bucket: Bucket) -> None:
        self.services, self.bucket = services, bucket
        self.ports = [service.port for service in services]
        self._entries = ObjectSequence(bucket, STEPS, "", digits=10)
        self._saved = ObjectSequence(bucket, "", SUFFIX)

    def read_settled(self) -> Operation:
        """Return the state in the bucket. No request may be in flight."""
        call = time.monotonic()
        sizes = self.bucket.sizes()
        entries, saved = self._entries.among(sizes), self._saved.among(sizes)
        newest = max(entries)
        content = self.bucket.read(self._entries.name(newest))
        assert content is not None
        entry = LiveLogEntry.read(newest, content)
        versions = frozenset(v for v, size in saved.items() if size) - {*entry.gone}
        history = tuple(v for v, _ in groupby(v for v in entry.history if v in versions))
        state = State(history, versions, max(saved))
        self._delete_old(list(entries), [v for v in saved if v not in versions])
        return Operation(Kind.SETTLED, call, time.monotonic(), answer=state)

    def _delete_old(self, entries: list[int], deleted: list[int]) -> None:
        for sequence, numbers in ((self._entries, entries), (self._saved, deleted)):
            old = sorted(numbers)[:-MAX_ENTRIES]
            self.bucket.remove(sequence.name(number) for number in old)


@contextmanager
def run_deployment(folder: Path) -> Iterator[Deployment]:
    """Run the services as long as the context lasts."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, ENVIRONMENT))
        postgres = stack.enter_context(run_postgres(*FAST_SETTINGS))
        store = stack.enter_context(run_seaweedfs(folder))
        url = store.new_bucket()
        shared = {
            "models_url": url,
            "database_url": postgres.fresh(),
            "data_dir": str(_small_data(folder / "data")),
            "workers": str(WORKERS),
            "keep_versions": str(KEEP_VERSIONS),
        }
        services = [
            stack.enter_context(run_service(folder / f"service-{number}", **shared))
            for number in range(SERVICES)
        ]
        for service in services:
            # In order: a worker that outlives a kill would still write into the folder.
            stack.callback(service.end)
        yield Deployment(services, Bucket.at(url))


def _small_data(folder: Path) -> Path:
    """Write a part of MNIST, so that an upload is evaluated soon."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    dataset = mnist.load(DATA)
    for name, digits, count in (
        ("train", dataset.train, TRAIN_IMAGES),
        ("t10k", dataset.test, TEST_IMAGES),
    ):
        write_idx(raw / f"{name}-images-idx3-ubyte", digits.pixels[:count])
        write_idx(raw / f"{name}-labels-idx1-ubyte", digits.labels[:count].astype("uint8"))
    return folder
