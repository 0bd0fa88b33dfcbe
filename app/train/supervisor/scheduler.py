"""Scheduler of the supervisor: which queued job starts next, and how many train at the same time.

With `MYNET_TRAIN_JOBS`, so many do. Otherwise one job trains as fast as it can, and jobs of sweeps
fill the cores. They have one thread each: on two cores, two threads of one job are no faster.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

from app.config.cpus import background_cpus
from app.config.memory import available_memory
from app.config.settings import Settings
from app.database.sweeps import SweepStore
from app.database.tables import Job
from app.devices import CPU, may_have_accelerator
from app.train.jobs.job import Status
from app.train.supervisor.worker_process import WorkerProcess

# Bytes of a worker process on the CPU, without the pages of files that all of them share.
WORKER_MEMORY: Final = 1_000_000_000


class Candidate(NamedTuple):
    """A job that may start, whether it belongs to a sweep, and the settings of its process."""

    job: Job
    in_sweep: bool
    settings: Settings


class Scheduler:
    """Selects the next job. Jobs of sweeps and other jobs take turns, so that none waits for all.

    If the jobs run on a cluster, its cores and memory are unknown here, so only the setting lets
    several train. Used by one thread.
    """

    def __init__(
        self,
        settings: Settings,
        store: SweepStore,
        *,
        on_cluster: bool = False,
        cpus: Callable[[], int] = background_cpus,
        memory: Callable[[Iterable[int]], float] = available_memory,
    ) -> None:
        self.settings, self.store, self.cpus, self.memory = settings, store, cpus, memory
        self.max_jobs = settings.train_jobs or (1 if on_cluster else None)
        self._last_in_sweep: bool | None = None

    def is_full(self, running: Sequence[WorkerProcess]) -> bool:
        """Return whether no other job may start, whichever is queued."""
        return bool(running) and len(running) >= (self.max_jobs or self.cpus())

    def next_job(self, running: Sequence[WorkerProcess]) -> Candidate | None:
        """Return the job that starts now, beside those that run, or None."""
        sweep_ids = self.store.sweep_ids_by_job([worker.job.id for worker in running])
        is_other_running = len(sweep_ids) < len(running)
        kinds = [True] if is_other_running and self.max_jobs is None else [False, True]
        waiting = [candidate for kind in kinds if (candidate := self._oldest(in_sweep=kind))]
        candidate = min(waiting, key=self._rank, default=None)
        if candidate is None or not self._fits(candidate, running, sweep_ids):
            return None
        self._last_in_sweep = candidate.in_sweep
        return candidate

    def _oldest(self, *, in_sweep: bool) -> Candidate | None:
        job = self.store.job_store.next_job(Status.QUEUED, in_sweep=in_sweep)
        return Candidate(job, in_sweep, self._settings(in_sweep=in_sweep)) if job else None

    def _rank(self, candidate: Candidate) -> tuple[bool, int]:
        """Return a sort key: the kind whose turn it is first, then the older job."""
        return candidate.in_sweep == self._last_in_sweep, candidate.job.number

    def _settings(self, *, in_sweep: bool) -> Settings:
        """Return the settings of a worker process."""
        if not in_sweep or self.max_jobs is not None:
            return self.settings
        return self.settings.model_copy(update={"train_threads": self.settings.train_threads or 1})

    def _fits(
        self, candidate: Candidate, running: Sequence[WorkerProcess], sweep_ids: Collection[str]
    ) -> bool:
        """Return whether cores and memory are left for a job beside those that run."""
        if self.max_jobs is not None or not running:
            return not self.is_full(running)
        others = [self._settings(in_sweep=worker.job.id in sweep_ids) for worker in running]
        threads = sum(
            settings.effective_train_threads for settings in [candidate.settings, *others]
        )
        pids = [worker.process.pid for worker in running if worker.process]
        return (
            _is_on_cpu(candidate)
            and threads <= self.cpus()
            and (len(running) + 1) * WORKER_MEMORY <= self.memory(pids)
        )


def _is_on_cpu(candidate: Candidate) -> bool:
    """Return whether a job trains on the CPU: the memory of a GPU is not looked at."""
    device = candidate.job.hyperparameters["device"] or candidate.settings.effective_train_device
    return device == CPU or (device == "auto" and not may_have_accelerator())
