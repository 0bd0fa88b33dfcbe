"""Two services on one SQLite database, their processes, and a clock that the test sets."""

import logging
import shutil
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from app.database import tables
from app.database.database import Database
from app.database.sweeps import SweepStore
from app.train.jobs.checkpoints import Checkpoints
from app.train.supervisor.standby import StandbyTiming
from app.train.supervisor.supervisor import Supervisor, Timing
from app.train.worker import main, state
from tests.conftest import settings_in
from tests.train.model import processes
from tests.train.model.invariants import Invariants
from tests.train.model.processes import FakeProcess
from tests.train.model.stepping import (
    SteppedDatabase,
    SteppedEvent,
    SteppedLocks,
    Task,
    current_task,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
CLOCKS = ("supervisor", "lease", "heartbeat_monitor", "standby")
# The standby process starts at once, for the next job of the example.
STANDBY_TIMING = StandbyTiming(delay=0.0, idle=20.0, retry=2.0)


class ErrorLog(logging.Handler):
    """Collects the errors that the supervisor did not expect."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.unexpected = []

    def emit(self, record):
        if record.exc_info and not isinstance(record.exc_info[1], OSError):
            self.unexpected.append(record.exc_info[1])


class Service:
    """A service with a state folder of its own; `supervisor` is its task, while it runs."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        url = str(world.database.engine.url)
        self.settings = settings_in(world.folder / name, url).model_copy(
            update={"train_jobs": world.train_jobs, "train_stall_seconds": 20.0}
        )
        self.settings.models_dir.mkdir(parents=True)
        self.task = None
        self.start()

    def start(self):
        timing = Timing(sweeps=0.0, retry=0.0)
        supervisor = Supervisor(self.settings, self.world.database, timing=timing)
        supervisor._stop, supervisor.standby.timing = SteppedEvent(), STANDBY_TIMING
        self.supervisor, self.task = supervisor, Task(self._run, supervisor)
        self.task.service = self
        self.task.step()

    @staticmethod
    def _run(supervisor):
        try:
            supervisor._run()
        finally:  # as the kernel does; a file lock belongs to its thread
            supervisor.lease._lock.release()

    @property
    def is_running(self):
        return not self.task.is_over

    def go_on(self, stops=None):
        """Run its supervisor for so many stops, or for one whole turn."""
        while self.is_running and stops != 0:
            self.task.step()
            self.world.check()
            stops = stops and stops - 1
            if stops is None and self.task.stopped_at == "wait":
                break

    def end(self):
        """Stop it in order."""
        self.supervisor.stop()
        while self.is_running:
            self.go_on()

    def kill(self):
        """End it as `kill -9` does. Its worker processes learn that from their pipes."""
        self.task.kill()
        for process in self.world.live_processes():
            if process.service is self:
                process.stop.set()


class World:
    """The database, two services, their processes and the clients' calls in progress."""

    def __init__(self, folder, template, monkeypatch, train_jobs):
        self.folder, self.train_jobs = folder, train_jobs
        self.seconds, self.starts_fail, self.manner = 0.0, False, "save"
        self.processes, self.calls = [], []
        self.saved_epochs, self.versions = {}, {}
        shutil.copy(template, folder / "mynet.db")
        self._patch(monkeypatch)
        self.database = SteppedDatabase(f"sqlite:///{folder}/mynet.db")
        self.database.backup = self.database.ballast = None  # other tests have them
        self.sweeps = SweepStore(self.database)
        self.store = self.sweeps.job_store
        self.checkpoints = Checkpoints(folder / "checkpoints", 1)
        self.services = []
        self.log = ErrorLog()
        logging.getLogger("app.train.supervisor").addHandler(self.log)
        self.invariants = Invariants(self)
        self.services += [Service(self, "one"), Service(self, "two")]

    def _patch(self, monkeypatch):
        clock = SimpleNamespace(monotonic=lambda: self.seconds)
        for name in CLOCKS:
            monkeypatch.setattr(f"app.train.supervisor.{name}.time", clock)
        monkeypatch.setattr("app.subprocesses.time", clock)
        monkeypatch.setattr("app.subprocesses.spawn", self._spawn)
        real = tables.now
        for module in [*sys.modules.values()]:
            if getattr(module, "now", None) is real and module.__name__.startswith("app."):
                monkeypatch.setattr(module, "now", self.now)
        monkeypatch.setattr(main, "Database", lambda _: _Shared(self.database))
        monkeypatch.setattr(main, "train_and_promote", processes.train)
        monkeypatch.setattr(state, "job_lock", SteppedLocks().hold)

    def _spawn(self, _module, **_):
        """Start a process of the service whose supervisor asks for it."""
        if self.starts_fail:
            raise OSError(11, "Resource temporarily unavailable")
        service, pid = current_task().service, len(self.processes) + 1
        self.processes.append(FakeProcess(self, service, self.manner, pid))
        return self.processes[-1]

    def now(self):
        return START + timedelta(seconds=self.seconds)

    def live_processes(self):
        return [process for process in self.processes if process.returncode is None]

    def working_processes(self):
        """Return the processes that live and have a job."""
        return [process for process in self.processes if process.is_working]

    def call(self, work, stops=None):
        """Begin the call of a client, and let it make so many stops, or end."""
        call = Task(work)
        self.calls.append(call)
        self.go_on(call, stops)

    def go_on(self, call, stops=None):
        while not call.is_over and stops != 0:
            call.step()
            self.check()
            stops = stops and stops - 1
        if call.is_over:
            self.calls.remove(call)
            if call.error:
                raise call.error

    def check(self):
        self.invariants.check()

    def close(self):
        logging.getLogger("app.train.supervisor").removeHandler(self.log)
        for process in self.processes:
            process.discard()
        for call in self.calls:
            call.kill()
        for service in self.services:
            if service.is_running:
                service.kill()
        self.invariants.close()
        self.database.close()


class _Shared:
    """The database of a worker process: that of the test, which stays open."""

    def __init__(self, database):
        self._database = database

    def __getattr__(self, name):
        return getattr(self._database, name)

    def close(self):
        pass


def make_template(path):
    """Make an empty database, to be copied: that is quicker than its scripts."""
    with closing(Database(f"sqlite:///{path}")):
        pass
