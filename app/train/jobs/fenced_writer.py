"""The writes of one attempt at a job, fenced by the attempt's number.

The database applies a write only while this attempt runs the job. An older attempt that has not
exited yet can change nothing. (The attempt's number is the fencing token of Kleppmann 2016, "How to
do distributed locking".)
"""

from dataclasses import dataclass
from typing import Any

from app.database.jobs import JobStore
from app.database.tables import Job, now
from app.train.jobs.job import Status, is_running_attempt
from app.train.jobs.phase import Phase, phase_data
from app.webhooks.outbox import store_messages


class Superseded(Exception):
    """The attempt may no longer write: the job was cancelled or paused, or another one runs it."""


@dataclass(frozen=True, slots=True)
class FencedWriter:
    """Writes of one attempt. Every call raises NotReady if the database cannot be used."""

    store: JobStore
    job_id: str
    attempt: int

    def job(self) -> Job:
        """Return the job. Raises Superseded if a client has cancelled and deleted it."""
        if job := self.store.job(self.job_id):
            return job
        raise Superseded(self.job_id)

    def record(self, kind: str, data: dict[str, Any], **values: Any) -> None:
        """Store an event and the job's new `values` in one transaction. Raises Superseded."""
        self._change(values, (kind, data))

    def begin_phase(self, phase: Phase, done: int | None = None, total: int | None = None) -> None:
        """Record what the attempt does, or how much of it is done. Raises Superseded."""
        data = phase_data(phase, done, total)
        self._change({"phase": data}, ("phase", data))

    def complete_progress(self) -> None:
        """Record that a training which ended early has no more to do. Raises Superseded."""
        progress = self.job().progress
        if progress:
            self._change({"progress": progress | {"fraction": 1.0, "eta": 0.0}})

    def record_data(self, data: dict[str, Any]) -> None:
        """Record the data sets that the job trains with. Raises Superseded."""
        self._change({"data": data})

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
        """Return whether an attempt has started to store the version. Raises Superseded."""
        return self.job().committing

    def succeed(self, result: dict[str, Any]) -> None:
        """End the job with its result. Raises Superseded."""
        values = {
            "status": Status.SUCCEEDED,
            "phase": None,
            "result": result,
            "finished_at": now(),
        }
        status = ("status", {"status": Status.SUCCEEDED})
        self._change(values, ("result", result), status, then=store_messages, vital=True)

    def _change(
        self, values: dict[str, Any], *events: tuple[str, dict[str, Any]], **options: Any
    ) -> None:
        running = is_running_attempt(self.attempt)
        if not self.store.change_job(
            self.job_id, *running, values=values, events=events, **options
        ):
            raise Superseded(self.job_id)
