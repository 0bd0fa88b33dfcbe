"""Replication of training state to the bucket, so that another service can take over a job.

Each copy of the state is an object of its own, `jobs/JOB/ATTEMPT-NUMBER.pt`. The previous copy is
deleted after the next one is complete, so a crash leaves at least one complete copy. An older
attempt that still writes does not overwrite copies of a newer one. The corrections,
`jobs/JOB/corrections`, are stored once, before the training starts, and every attempt uses them.
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
from app.versions.bucket.object_store import Bucket, BucketUnavailable, OnRequest, no_op

JOBS: Final = "jobs/"
NAME: Final = re.compile(r"jobs/(\w+)/(?:(\d+)-(\d+)\.pt|corrections)", re.ASCII)
# Seconds between two copies: about as much training is lost with a machine.
COPY_INTERVAL: Final = 5.0
log = logging.getLogger(__name__)


def job_files(
    settings: Settings, job_id: str, attempt: int, on_request: OnRequest = no_op
) -> JobFiles:
    """Return the files of a job, replicated if versions are in a bucket. Raises InvalidBucket.

    `on_request` is called after each request that the training waits for.
    """
    if settings.bucket_url is None:
        return JobFiles(settings.jobs_dir, job_id)
    bucket = Bucket.at(settings.bucket_url, on_request)
    return ReplicatedJobFiles(settings.jobs_dir, job_id, attempt, bucket)


class ReplicatedJobFiles(JobFiles):
    """Files of a job with copies in a bucket."""

    def __init__(self, folder: Path, job_id: str, attempt: int, bucket: Bucket) -> None:
        super().__init__(folder, job_id)
        self.attempt, self.bucket = attempt, bucket
        self._prefix = f"{JOBS}{job_id}/"
        self._last_copy, self._number = b"", 0

    def download_newer(self) -> None:
        """Download the state of another service if it is newer than the local state.

        Raises BucketUnavailable if the bucket is unavailable and there is no local state.
        """
        if self.attempt == 1:
            return
        try:
            self._download_corrections()
            self._download_state()
        except BucketUnavailable as error:
            if not self.state.exists():
                raise
            log.warning(
                "bucket unavailable, job resumes from local state: job=%s error=%s",
                self.job_id,
                error.problem,
            )

    def store_corrections(self, content: bytes) -> None:
        """Store the corrections, or those that another attempt stored first.

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
        # Copies that succeed or fail while the training hangs must not look like its progress.
        on_request, self.bucket.on_request = self.bucket.on_request, no_op
        thread.start()
        try:
            yield
        finally:
            self.bucket.on_request = on_request  # from now on the training waits for them
            stop.set()
            thread.join()

    def clean_up(self, has_ended: Callable[[str], bool]) -> None:
        """Delete the copies of all ended jobs in the database of this service."""
        try:
            names = [name for name in self.bucket.sizes(JOBS) if NAME.fullmatch(name)]
            ended = {job for job in map(_job, names) if has_ended(job)}
            self.bucket.remove(name for name in names if _job(name) in ended)
        except NotReady as error:  # the next attempt of any job deletes them
            log.warning("copies of ended jobs could not be deleted: error=%s", error)

    def _download_corrections(self) -> None:
        content = self.bucket.read(f"{self._prefix}corrections")
        if content is None or (self.corrections.exists() and self._has_corrections(content)):
            return
        self.state.unlink(missing_ok=True)  # it was trained with other corrections
        super().store_corrections(content)

    def _has_corrections(self, corrections: bytes) -> bool:
        return self.corrections.read_bytes() == corrections

    def _download_state(self) -> None:
        local = state.saved_position(self.state.read_bytes()) if self.state.exists() else None
        for name in self._copies():
            content = self.bucket.read(name) or b""
            remote = state.saved_position(content)
            if remote is None:
                log.error("copy is not a saved state: job=%s copy=%s", self.job_id, name)
            elif local is None or remote > local:
                state.write(self.state, content)
                message = "job resumes from a copy: job=%s copy=%s epoch=%d batch=%d"
                log.info(message, self.job_id, name, *remote)
                return

    def _copies(self) -> list[str]:
        """Return the names of the copies of the state, newest first."""
        names = self.bucket.sizes(self._prefix)
        return sorted((name for name in names if _age(name)), key=_age, reverse=True)

    def _replicate(self, stop: threading.Event) -> None:
        """Copy the state regularly and once at the end. An unavailable bucket is logged once."""
        is_failing = False
        while True:
            is_last = stop.wait(COPY_INTERVAL)
            try:
                self._copy()
                is_failing = False
            except BucketUnavailable as error:
                if not is_failing:
                    log.warning(
                        "state could not be copied, retrying: job=%s error=%s",
                        self.job_id,
                        error.problem,
                    )
                is_failing = True
            if is_last:
                return

    def _copy(self) -> None:
        with suppress(FileNotFoundError):  # no state was saved yet
            content = self.state.read_bytes()
            if content == self._last_copy:
                return
            name = f"{self._prefix}{self.attempt}-{self._number}.pt"
            self._number += 1
            if self.bucket.create(name, content):
                self._last_copy = content
                self.bucket.remove(
                    copy_name for copy_name in self._copies() if _age(copy_name) < _age(name)
                )


def _age(name: str) -> tuple[int, ...]:
    """Return the attempt and the number of a copy, or () if the name is not that of a copy."""
    match = NAME.fullmatch(name)
    return (int(match[2]), int(match[3])) if match and match[2] else ()


def _job(name: str) -> str:
    return name.split("/")[1]
