"""Which job starts next: one at a time, except for sweeps, which fill cores and memory."""

import pytest

from app.database.sweeps import SweepStore
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.sweep_grid import Grid
from app.train.supervisor import scheduler as module
from app.train.supervisor.scheduler import WORKER_MEMORY, Scheduler
from app.train.supervisor.worker_process import WorkerProcess
from tests.train.supervisor.test_supervisor import create, wait_for_ticks, wait_until


@pytest.fixture
def sweeps(store):
    return SweepStore(store.database)


@pytest.fixture
def create_sweep(sweeps):
    def create_sweep(count, **values):
        grid = Grid(**{"seed": [*range(count)], **values})
        row = sweep.create(sweeps, grid, max_queued=9, key=None)
        return [job.id for job in sweeps.jobs(row.id)]

    return create_sweep


class Machine:
    """A scheduler with cores and memory of the test's choice, and the jobs that it started."""

    def __init__(self, settings, sweeps, *, cores, workers, on_cluster):
        self.scheduler = Scheduler(
            settings,
            sweeps,
            on_cluster=on_cluster,
            cpus=lambda: cores,
            memory=lambda _: workers * WORKER_MEMORY,
        )
        self.store, self.running = sweeps.job_store, []

    def fill(self):
        """Start all jobs that may start, and return their ids with their numbers of threads."""
        started = {}
        while candidate := self.scheduler.next_job(self.running):
            jobs.start(self.store, candidate.job)
            job = self.store.job(candidate.job.id)
            self.running.append(WorkerProcess(self.store, job, None, back_off=1, stall_seconds=1))
            started[job.id] = candidate.settings.effective_train_threads
        return started

    def end(self, job_id):
        jobs.cancel(self.store, job_id)
        self.running = [worker for worker in self.running if worker.job.id != job_id]


@pytest.fixture
def machine(settings, sweeps, monkeypatch):
    def machine(cores=2, workers=64, train_jobs=None, on_cluster=False):
        monkeypatch.setattr("app.config.settings.available_cpus", lambda: cores)
        changed = settings.model_copy(update={"train_jobs": train_jobs})
        return Machine(changed, sweeps, cores=cores, workers=workers, on_cluster=on_cluster)

    return machine


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"cores": 1}, 1),
        ({"cores": 2}, 2),
        ({"cores": 8}, 4),
        ({"cores": 8, "workers": 3}, 3),
        ({"cores": 8, "workers": 1}, 1),
        ({"cores": 8, "workers": 0}, 1),
        ({"cores": 8, "train_jobs": 1}, 1),
        ({"cores": 1, "workers": 0, "train_jobs": 3}, 3),
        ({"cores": 8, "on_cluster": True}, 1),
        ({"cores": 8, "on_cluster": True, "train_jobs": 2}, 2),
    ],
)
def test_sweep_fills_cores_and_memory_unless_the_setting_says_how_many(
    machine, create_sweep, limits, expected
):
    job_ids = create_sweep(4)
    assert [*machine(**limits).fill()] == job_ids[:expected]


def test_jobs_of_a_sweep_have_one_thread_and_other_jobs_more(machine, store, create_sweep):
    four_cores = machine(cores=4)
    other, first = create(store), create_sweep(2)[0]
    assert four_cores.fill() == {other: 3, first: 1}


def test_other_jobs_train_one_at_a_time_with_a_sweep_in_the_cores_left(
    machine, store, create_sweep
):
    two_cores = machine()
    first, second = create(store), create(store)
    assert [*two_cores.fill()] == [first]
    in_sweep = create_sweep(3)
    assert [*two_cores.fill()] == [in_sweep[0]]
    two_cores.end(first)
    assert [*two_cores.fill()] == [second]


def test_sweep_and_other_jobs_take_turns_on_one_core(machine, store, create_sweep):
    one_core = machine(cores=1)
    in_sweep, others = create_sweep(2), [create(store), create(store)]
    expected = [in_sweep[0], others[0], in_sweep[1], others[1]]
    for job_id in expected:
        assert [*one_core.fill()] == [job_id]
        one_core.end(job_id)


def test_job_that_needs_several_cores_gets_them_before_the_sweep_goes_on(
    machine, store, create_sweep
):
    four_cores = machine(cores=4)
    in_sweep = create_sweep(8)
    assert [*four_cores.fill()] == in_sweep[:4]
    other = create(store)
    for job_id in in_sweep[:2]:
        four_cores.end(job_id)
        assert [*four_cores.fill()] == []
    four_cores.end(in_sweep[2])
    assert [*four_cores.fill()] == [other]


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_jobs_on_a_gpu_train_one_at_a_time(machine, create_sweep, monkeypatch, device):
    monkeypatch.setattr(module, "may_have_accelerator", lambda: True)
    job_ids = create_sweep(3, device=device)
    assert [*machine().fill()] == job_ids[:1]


def test_two_jobs_of_a_sweep_run_at_the_same_time(store, supervise, stand_in, create_sweep):
    job_ids = create_sweep(3)
    supervisor = supervise()
    supervisor.scheduler.cpus, pids = (lambda: 2), set()

    def memory(running):
        pids.update(running)
        return float("inf")

    supervisor.scheduler.memory = memory
    with supervisor:
        wait_until(lambda: [store.job(job).status for job in job_ids[:2]] == ["running"] * 2)
        wait_for_ticks(supervisor)
        assert store.job(job_ids[2]).status == "queued"
        assert all(stand_in.started[job].poll() is None for job in job_ids[:2])
        assert pids == {stand_in.started[job_ids[0]].pid}
        jobs.cancel(store, job_ids[0])
        wait_until(lambda: store.job(job_ids[2]).status == "running")
