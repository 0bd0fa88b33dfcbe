"""Version registry in a bucket, mirrored in a folder; several services may share the bucket.

Reads use the folder, so they work while the bucket is unavailable. Changes go to the bucket first.

In the bucket, a version is `N.safetensors`; that object is empty once the version is deleted. The
numbered entries below `current/` each hold the content of `CURRENT`; the last entry is the valid
one. A service changes the live version by creating the next entry. If another service was faster,
it reads the bucket again and retries. An entry that deletes versions names them before they are
deleted, so that no service can promote one of them in between. `checkpoints/DIGEST` records that a
file went live by `MYNET_CHECKPOINT`.
"""

import logging
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import EllipsisType
from typing import Final

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from app import atomic_files
from app.errors import Conflict
from app.net import Weights
from app.telemetry.logs import redact
from app.versions import checkpoint
from app.versions.bucket.log import LiveLogEntry, ObjectSequence
from app.versions.bucket.object_store import Bucket, BucketUnavailable
from app.versions.card import Card
from app.versions.registry import CURRENT, Registry, ResultT

STEPS: Final = "current/"
CHECKPOINTS: Final = "checkpoints/"
LAST_LISTED: Final = ".looked"
# Seconds between two checks of the bucket, over all processes that share the folder.
POLL: Final = 0.75
# Seconds of waiting for the lock between two calls of `on_request`.
LOCK_WAIT: Final = 5.0
log = logging.getLogger(__name__)


class ConcurrentUpdate(Exception):
    """Another service changed the bucket first."""


class BucketRegistry(Registry):
    """A registry whose folder follows a bucket.

    Changes raise BucketUnavailable while the bucket cannot be reached.
    """

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        super().__init__(folder)
        self.bucket = bucket
        self._saved = ObjectSequence(bucket, "", checkpoint.SUFFIX)
        self._steps = ObjectSequence(bucket, STEPS, "", digits=10, fleeting=True)
        self._step = LiveLogEntry()
        self._highest = 0
        self._pending_deletions: list[int] = []
        self._failed: set[int] = set()

    def refresh(self) -> None:
        with self._locked():
            self._refresh()

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        stop = threading.Event()
        threading.Thread(target=self._follow, args=[stop], name="mirror", daemon=True).start()
        try:
            yield
        finally:
            stop.set()

    def check_writable(self) -> None:
        """Raise InvalidBucket if objects cannot be created, listed and deleted in the bucket."""
        self.bucket.check()

    def exists(self, version: int) -> bool:
        """Return whether a version exists.

        Raises BucketUnavailable if the version exists but could not be fetched.
        """
        if version in self._failed and not self.file(version).exists():
            raise BucketUnavailable(LookupError(f"version {version} could not be fetched"))
        return super().exists(version)

    def check_complete(self) -> None:
        for version in self._failed:
            self.path(version)

    def card(self, version: int) -> Card:
        return self._read_with_repair(super().card, version)

    def weights(self, version: int) -> dict[str, NDArray[np.float32]]:
        return self._read_with_repair(super().weights, version)

    def save(self, weights: Weights, card: Card) -> int:
        content = checkpoint.to_bytes(self.folder, weights, card)
        return self.change(partial(self._save, content))

    def promote(self, version: int, *, expected: int | EllipsisType | None = ...) -> bool:
        return self.change(partial(super().promote, version, expected=expected))

    def rollback(self, *, expected: int | EllipsisType = ...) -> int:
        return self.change(partial(super().rollback, expected=expected))

    def delete(self, version: int) -> None:
        self.change(partial(super().delete, version))

    def prune(
        self,
        keep_versions: int,
        *,
        protected_jobs: Container[str | None] = (),
    ) -> None:
        self.change(partial(super().prune, keep_versions, protected_jobs=protected_jobs))

    def recorded_checkpoint(self, digest: str) -> int | None:
        content = self.bucket.read(f"{CHECKPOINTS}{digest}")
        return int(content) if content and content.isdigit() else None

    def record_checkpoint(self, digest: str, version: int) -> None:
        self.bucket.create(f"{CHECKPOINTS}{digest}", str(version).encode())

    def import_bundled(self) -> None:
        # Two services that do this at the same time claim the same numbers for the same contents.
        self.change(super().import_bundled)

    def remove(self, versions: Sequence[int]) -> None:
        if versions:
            left = [version for version in self.history() if version not in versions]
            self._append_entry(left, versions)
        super().remove(versions)

    def _is_available(self, version: int) -> bool:
        """Return whether a version exists; one that could not be fetched stays in the history."""
        return super()._is_available(version) or version in self._failed

    def _commit(self, history: list[int]) -> None:
        self._append_entry(history)
        super()._commit(history)

    def change(self, work: Callable[[], ResultT]) -> ResultT:
        """Run `work` on the current state; if another service was faster, run it again."""
        if self.lock.lock_counter:
            return work()  # part of an outer change, which is retried as a whole
        while True:
            with self._locked(), suppress(ConcurrentUpdate):
                self._refresh()
                return work()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock. Call `on_request` also while another process has it for its requests."""
        while True:
            with suppress(Timeout):
                proxy = self.lock.acquire(timeout=LOCK_WAIT)
                break
            self.bucket.on_request()
        with proxy:
            yield

    def _save(self, content: bytes) -> int:
        version = self._highest + 1
        if not self._saved.claim(version, content):
            raise ConcurrentUpdate
        self._highest = version
        self._put(version, content)
        return version

    def _append_entry(self, history: Sequence[int], gone: Sequence[int] = ()) -> None:
        going = sorted(
            {*self._pending_deletions, *gone}
        )  # including those of a service that stopped before it had deleted them
        step = LiveLogEntry(self._step.number + 1, history, going)
        if not self._steps.claim(step.number, step.to_bytes()):
            raise ConcurrentUpdate
        self._step = step
        for version in going:
            self.bucket.empty(self._saved.name(version))
        self._pending_deletions = []

    def _refresh(self) -> None:
        """Update the folder from the bucket. A version goes live once its file is in the folder."""
        (self.folder / LAST_LISTED).touch()
        sizes = self.bucket.sizes()
        self._step = self._last_entry(self._steps.among(sizes))
        saved = self._saved.among(sizes)
        self._highest = max(saved, default=0)
        self._pending_deletions = [version for version in self._step.gone if saved.get(version)]
        there = {version for version, size in saved.items() if size} - {*self._step.gone}
        history = [*self._step.history]
        self._fetch_missing(sorted(there.difference(self.versions())), history[:1])
        if history and self.read_numbers(CURRENT) != history:
            self._write(history)
        for version in {*self.versions()} - there - {*history[:1]}:
            atomic_files.remove(self.file(version))

    def _last_entry(self, steps: Mapping[int, int]) -> LiveLogEntry:
        number = max(steps, default=0)
        if not number and self.read_text(CURRENT):  # an entry existed before
            raise BucketUnavailable(LookupError("the bucket is empty, but had entries before"))
        if number == self._step.number:
            return self._step
        if number < self._step.number:
            raise BucketUnavailable(
                LookupError(f"the last entry is {number}, but was {self._step.number} before")
            )
        content = self.bucket.read(self._steps.name(number))
        if not content:
            raise BucketUnavailable(LookupError(f"entry {number} is listed but does not exist"))
        return LiveLogEntry.read(number, content)

    def _fetch_missing(self, missing: Sequence[int], live: Sequence[int]) -> None:
        """Fetch versions. The live version is required; the others are retried later."""
        failed = set()
        for version in missing:
            try:
                self._fetch(version)
            except BucketUnavailable as error:
                if version in live:
                    raise
                failed.add(version)
                if version not in self._failed:
                    log.error(
                        "version could not be fetched: version=%d error=%s", version, error.problem
                    )
        self._failed = failed

    def _fetch(self, version: int) -> None:
        """Fetch a version, damaged or not: its digest is checked whenever it is read."""
        content = self.bucket.read(self._saved.name(version))
        if content is None:
            raise BucketUnavailable(LookupError(f"version {version} is listed but does not exist"))
        if content:  # otherwise it was deleted in the meantime
            self._put(version, content)

    def _put(self, version: int, content: bytes) -> None:
        with atomic_files.atomic_replace(self.file(version)) as temporary:
            temporary.write_bytes(content)

    def _read_with_repair(self, read: Callable[[int], ResultT], version: int) -> ResultT:
        """Read a version; if the local file is damaged, fetch it again first."""
        try:
            return read(version)
        except Conflict as error:
            log.error("%s Fetching it again.", error)
            with self.lock, suppress(BucketUnavailable):
                self._fetch(version)
            return read(version)

    def _follow(self, stop: threading.Event) -> None:
        """Refresh until stopped. An outage and its end are logged once."""
        problem = ""
        while not stop.wait(POLL / 5):
            before = problem
            try:
                with self.lock:
                    if not self._is_due():
                        continue
                    self._refresh()
                problem = ""
            except Exception as error:  # any: the folder stays as it is, and the cause may pass
                problem = redact(f"{error} {getattr(error, 'problem', '')}")
            if problem and not before:
                log.error(
                    "bucket unavailable, other services' changes are not visible: %s", problem
                )
            elif before and not problem:
                log.warning("bucket available again")

    def _is_due(self) -> bool:
        try:
            age = time.time() - (self.folder / LAST_LISTED).stat().st_mtime
        except FileNotFoundError:
            return True
        return not 0 <= age < POLL
