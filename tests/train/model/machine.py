"""The life of jobs as a state machine of Hypothesis: everything that can happen, in any order."""

import re
import sys
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from app.errors import Conflict, NotFound, QueueFull
from app.train.jobs import deletion, sweep
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.sweep_grid import Grid
from app.webhooks.subscriptions import Subscription
from tests.train.model.processes import ERRORS, MANNERS

WEBHOOK = Subscription("https://example.org/hook", ("succeeded", "failed", "cancelled"))
MAX_QUEUED = 6
# The states in which a client's request must not be refused.
ALLOWED = {
    "pause": {"running"},
    "resume": {"paused"},
    "cancel": {"queued", "running", "paused"},
    "delete": {"succeeded", "failed", "cancelled"},
    "cancel_sweep": {"running"},
    "delete_sweep": set(),
}
REQUESTS = {
    "pause": lambda world, job: jobs.pause(world.store, job),
    "resume": lambda world, job: jobs.resume(world.store, job),
    "cancel": lambda world, job: jobs.cancel(world.store, job),
    "delete": lambda world, job: deletion.delete_job(world.sweeps, world.checkpoints, job),
    "cancel_sweep": lambda world, row: sweep.cancel(world.sweeps, row),
    "delete_sweep": lambda world, row: deletion.delete_sweep(world.sweeps, row),
}
index = st.integers(0, 20)
# How many transactions are made before something else goes on; by default, all of them.
stops = st.none() | st.integers(1, 4)


def choose(items, number):
    return items[number % len(items)]


class JobMachine(RuleBasedStateMachine):
    """`make_world` makes the world of an example."""

    def __init__(self, make_world):
        super().__init__()
        self.make_world, self.world = make_world, None

    @initialize(train_jobs=st.integers(1, 2))
    def begin(self, train_jobs):
        self.world = self.make_world(train_jobs)
        # Each example has a job, which changes its state.
        options = {"max_queued": MAX_QUEUED, "key": None, "webhooks": [WEBHOOK]}
        self._call(partial(self._queue, Hyperparameters(epochs=2), options), None)

    # Requests of clients

    @rule(
        key=st.none() | st.sampled_from("ab"),
        epochs=st.integers(1, 3),
        limit=st.none() | st.just(60.0),
        stops=stops,
    )
    def queue(self, key, epochs, limit, stops):
        hyperparameters = Hyperparameters(epochs=epochs, max_seconds=limit)
        options = {"max_queued": MAX_QUEUED, "key": key, "webhooks": [WEBHOOK]}
        self._call(partial(self._queue, hyperparameters, options), stops)

    def _queue(self, hyperparameters, options):
        try:
            job = jobs.create(self.world.store, hyperparameters, **options)
            assert job.idempotency_key == options["key"]
        except QueueFull:
            pass
        except Conflict as error:
            assert "other hyperparameters" in str(error)

    @rule(key=st.none() | st.just("s"), size=st.integers(1, 3), stops=stops)
    def queue_sweep(self, key, size, stops):
        grid = Grid(epochs=1, seed=list(range(size)))
        options = {"max_queued": MAX_QUEUED, "key": key, "webhooks": [WEBHOOK]}
        self._call(partial(self._queue_sweep, grid, options), stops)

    def _queue_sweep(self, grid, options):
        try:
            sweep.create(self.world.sweeps, grid, **options)
        except QueueFull:
            pass
        except Conflict as error:
            assert "another request" in str(error)

    @precondition(lambda self: self.world and self.world.invariants.jobs)
    @rule(name=st.sampled_from(["pause", "resume", "cancel", "delete"]), index=index, stops=stops)
    def request(self, name, index, stops):
        self._call(partial(self._request, name, choose([*self._jobs], index)), stops)

    @precondition(lambda self: self.world and self.world.invariants.sweeps)
    @rule(name=st.sampled_from(["cancel_sweep", "delete_sweep"]), index=index, stops=stops)
    def request_for_sweep(self, name, index, stops):
        sweep_id = choose([*self.world.invariants.sweeps], index)
        self._call(partial(self._request, name, sweep_id), stops)

    def _request(self, name, target):
        """A refusal names a state in which the request is not allowed."""
        if name.startswith("delete"):
            self._expect_deletion(target)
        try:
            REQUESTS[name](self.world, target)
        except NotFound:
            assert target in self.world.invariants.deleted
        except Conflict as error:
            named = re.search(r"The (?:job|sweep) is (\w+)", str(error))
            assert named or "belongs to the sweep" in str(error), str(error)
            assert not named or named[1] not in ALLOWED[name], str(error)

    def _expect_deletion(self, target):
        world = self.world
        world.invariants.deleted.add(target)
        if target in world.invariants.sweeps:
            world.invariants.deleted.update(world.sweeps.sweep_ids_by_job(self._jobs))

    @precondition(lambda self: self.world and self.world.calls)
    @rule(index=index, stops=stops)
    def go_on(self, index, stops):
        self.world.go_on(choose(self.world.calls, index), stops)

    # Supervisors and their services

    @precondition(lambda self: self.world)
    @rule(index=index, stops=stops, manner=st.sampled_from(MANNERS))
    def supervise(self, index, stops, manner):
        self.world.manner = manner
        choose(self.world.services, index).go_on(stops)

    @precondition(lambda self: self.world)
    @rule(index=index, is_killed=st.booleans())
    def restart(self, index, is_killed):
        service = choose(self.world.services, index)
        if service.is_running:
            service.kill() if is_killed else service.end()
        else:
            service.start()
        self.world.check()

    @precondition(lambda self: self.world)
    @rule(fail=st.booleans())
    def start_no_processes(self, fail):
        self.world.starts_fail = fail

    @precondition(lambda self: self.world)
    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0, 15.0, 31.0, 61.0]))
    def wait(self, seconds):
        """Advance the clock; the processes that have a job send heartbeats."""
        self.world.seconds += seconds
        for process in self.world.working_processes():
            process.beat()

    # Worker processes

    @precondition(lambda self: self.world and self.world.working_processes())
    @rule(index=index, stops=st.integers(1, 20))
    def train(self, index, stops):
        process = choose(self.world.working_processes(), index)
        while stops and process.returncode is None:
            process.go_on()
            stops -= 1

    @precondition(lambda self: self.world and self.world.working_processes())
    @rule(index=index, fault=st.sampled_from([*ERRORS]))
    def fail(self, index, fault):
        choose(self.world.working_processes(), index).fault = fault

    @precondition(lambda self: self.world and self.world.live_processes())
    @rule(index=index, code=st.sampled_from([-9, -11, 1, 74]))
    def crash(self, index, code):
        process = choose(self.world.live_processes(), index)
        process.has_failed = True
        process.end(code)

    @precondition(lambda self: self.world and self.world.working_processes())
    @rule(seconds=st.sampled_from([5.0, 25.0]))
    def stall(self, seconds):
        """Advance the clock without a heartbeat."""
        self.world.seconds += seconds
        for process in self.world.working_processes():
            process.has_failed = True

    @property
    def _jobs(self):
        return self.world.invariants.jobs

    def _call(self, work, stops):
        self.world.call(work, stops)

    def teardown(self):
        if self.world:
            try:
                if sys.exception() is None:
                    self._end_everything()
            finally:
                self.world.close()

    def _end_everything(self):
        """Every job ends in the end, and every sweep with its jobs."""
        world = self.world
        while world.calls:
            world.go_on(world.calls[0])
        world.starts_fail, world.manner = False, "save"
        for process in world.live_processes():
            process.fault = None
            if process.stop.is_set():  # its grace is over
                process.end(0)
        for service in world.services:
            if not service.is_running:
                service.start()
        for _ in range(60):
            for job_id, job in [*self._jobs.items()]:
                if job["status"] == "paused":
                    jobs.resume(world.store, job_id)
            for service in world.services:
                service.go_on()
            for process in world.live_processes():
                process.beat()
                process.go_on()
                while process.is_working and process.task.stopped_at != "lock":
                    process.go_on()
                if process.returncode is None and process.is_killed:
                    process.end(-9)
            world.seconds += 10.0
            world.check()
            if all(job["finished_at"] for job in self._jobs.values()) and all(
                row.finished_at for row in world.invariants.sweeps.values()
            ):
                return
        raise AssertionError(f"some jobs never end: {self._jobs}")
