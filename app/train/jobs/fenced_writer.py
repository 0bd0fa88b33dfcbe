"""The writes of one attempt at a job, fenced by the attempt's number.

The database applies a write only while this attempt runs the job. An older attempt that has not
exited yet can change nothing. (The attempt's number is the fencing token of Kleppmann 2016, "How to
do distributed locking".)
"""

from dataclasses import dataclass
from typing import Any

from app.database.jobs import JobStore
from app.database.tables import now
from app.train.jobs import job as jobs
from app.train.jobs.job import Status, is_running_attempt


class Superseded(Exception):
    """The attempt may no longer write: the job was cancelled or paused, or another one runs it."""


@dataclass(frozen=True, slots=True)
class FencedWriter:
    """Writes of one attempt. Every call raises NotReady if the database cannot be used."""

    store: JobStore
    job_id: str
    attempt: int

    def record(self, kind: str, data: dict[str, Any], **values: Any) -> None:
        """Store an event and the job's new `values` in one transaction. Raises Superseded."""
        self._change(values, (kind, data))

    def reset_failures(self) -> None:
        """Reset the counts of crashes and errors after new state was saved. Raises Superseded."""
        self._change({"crashes": 0, "errors": 0})

    def begin_commit(self) -> None:
        """Record that the attempt starts to store and promote its version. Raises Superseded.

        From now on the job cannot be cancelled or paused, even if the process dies: the version may
        be live before the job is recorded as succeeded.
        """
        self._change({"committing": True})

    def is_committing(self) -> bool:
        """Return whether this attempt or an earlier one started to store its version."""
        return jobs.get(self.store, self.job_id).committing

    def succeed(self, result: dict[str, Any]) -> None:
        """End the job with its result. Raises Superseded."""
        values = {"status": Status.SUCCEEDED, "result": result, "finished_at": now()}
        status = ("status", {"status": Status.SUCCEEDED})
        self._change(values, ("result", result), status, vital=True)

    def _change(
        self, values: dict[str, Any], *events: tuple[str, dict[str, Any]], vital: bool = False
    ) -> None:
        running = is_running_attempt(self.attempt)
        if not self.store.change_job(
            self.job_id, *running, values=values, events=events, vital=vital
        ):
            raise Superseded(self.job_id)
