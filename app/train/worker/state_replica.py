"""Copies of what a job needs to go on, in the bucket of the versions, for services that share it.

What enters: the files in which a training keeps its state. What leaves: the same files, with
another service that takes the job over. This module does not know how a network is trained.

Each copy of the state is an object of its own, `jobs/JOB/ATTEMPT-NUMBER.pt`, and the one before
goes once the next is there: whoever dies on the way leaves one that is whole, and an older attempt
that still writes takes nothing away from a newer one. The corrections, `jobs/JOB/corrections`, are
made once, before anything is trained with them, and are then those of every attempt.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from app.config.settings import Settings
from app.errors import NotReady
from app.train.worker import state
from app.train.worker.state import JobFiles
from app.versions.bucket.object_store import Bucket, BucketUnavailable

JOBS: Final = "jobs/"
NAME: Final = re.compile(r"jobs/(\w+)/(?:(\d+)-(\d+)\.pt|corrections)", re.ASCII)
# Seconds between two copies, and so, nearly, of what a lost machine takes along.
COPY_INTERVAL: Final = 5.0
log = logging.getLogger(__name__)


def job_files(settings: Settings, job_id: str, attempt: int) -> JobFiles:
    """Return a job's files, copied where versions are in a bucket. Raises InvalidBucket."""
    if settings.bucket_url is None:
        return JobFiles(settings.jobs_dir, job_id)
    return ReplicatedJobFiles(settings.jobs_dir, job_id, attempt, Bucket.at(settings.bucket_url))


class ReplicatedJobFiles(JobFiles):
    """Files with copies in a bucket."""

    def __init__(self, folder: Path, job_id: str, attempt: int, bucket: Bucket) -> None:
        super().__init__(folder, job_id)
        self.attempt, self.bucket = attempt, bucket
        self._prefix = f"{JOBS}{job_id}/"
        self._copied, self._number = b"", 0

    def download_newer(self) -> None:
        """Take what another service left, where that is further than what is here.

        Raises BucketUnavailable; but what is here is enough to go on while the bucket is away.
        """
        if self.attempt == 1:
            return
        try:
            self._download_corrections()
            self._download_state()
        except BucketUnavailable as error:
            if not self.state.exists():
                raise
            log.warning("job %s goes on from what is here: %s", self.job_id, error.problem)

    def store_corrections(self, content: bytes) -> None:
        """Store them, or those that another attempt stored first.

        Raises BucketUnavailable, OSError.
        """
        name = f"{self._prefix}corrections"
        if not self.bucket.create(name, content):
            content = self.bucket.read(name) or content
        super().store_corrections(content)

    @contextmanager
    def replicating(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._replicate, args=[stop], name="copies", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def clean_up(self, has_ended: Callable[[str], bool]) -> None:
        """Remove the copies of jobs that have ended, of all that are known here."""
        try:
            names = [name for name in self.bucket.sizes(JOBS) if NAME.fullmatch(name)]
            ended = {job for job in map(_job, names) if has_ended(job)}
            self.bucket.remove(name for name in names if _job(name) in ended)
        except NotReady as error:  # the next attempt at any job removes them
            log.warning("copies of ended jobs stay for now: %s", error)

    def _download_corrections(self) -> None:
        content = self.bucket.read(f"{self._prefix}corrections")
        if content is None or (self.corrections.exists() and self._has_corrections(content)):
            return
        self.state.unlink(missing_ok=True)  # it learnt from others
        super().store_corrections(content)

    def _has_corrections(self, corrections: bytes) -> bool:
        return self.corrections.read_bytes() == corrections

    def _download_state(self) -> None:
        local = state.saved_position(self.state.read_bytes()) if self.state.exists() else None
        for name in self._copies():
            content = self.bucket.read(name) or b""
            remote = state.saved_position(content)
            if remote is None:
                log.error("job %s: %s is no saved state", self.job_id, name)
            elif local is None or remote > local:
                state.write(self.state, content)
                log.info("job %s: goes on from %s, epoch %d, batch %d", self.job_id, name, *remote)
                return

    def _copies(self) -> list[str]:
        """Name the copies of the state, newest first."""
        names = self.bucket.sizes(self._prefix)
        return sorted((name for name in names if _age(name)), key=_age, reverse=True)

    def _replicate(self, stop: threading.Event) -> None:
        """Copy again and again, and once more at the end; that the bucket is away is told once."""
        is_failing = False
        while True:
            is_last = stop.wait(COPY_INTERVAL)
            try:
                self._copy()
                is_failing = False
            except BucketUnavailable as error:
                if not is_failing:
                    log.warning("job %s is not copied for now: %s", self.job_id, error.problem)
                is_failing = True
            if is_last:
                return

    def _copy(self) -> None:
        with suppress(FileNotFoundError):  # nothing was saved yet
            content = self.state.read_bytes()
            if content == self._copied:
                return
            name = f"{self._prefix}{self.attempt}-{self._number}.pt"
            self._number += 1
            if self.bucket.create(name, content):
                self._copied = content
                self.bucket.remove(
                    copy_name for copy_name in self._copies() if _age(copy_name) < _age(name)
                )


def _age(name: str) -> tuple[int, ...]:
    """Return a copy's attempt and number; nothing for what is no copy of a state."""
    match = NAME.fullmatch(name)
    return (int(match[2]), int(match[3])) if match and match[2] else ()


def _job(name: str) -> str:
    return name.split("/")[1]
