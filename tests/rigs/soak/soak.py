"""The soak, `make soak`: everything that can be asked of a service, mixed at random, and kills.

One `mynet serve` with two workers is asked for predictions in all protocols, trainings, pauses,
sweeps, swaps, uploads, deletions and API keys, good and bad, and loses workers, its parent or the
training process, as a seed draws it. A receiver of webhooks refuses some of them. After each step
what must hold is looked at; in the end every job must have come to its own. `MINUTES=3 SEED=7`
soaks for so long, with that seed.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.rigs.soak.api_keys import ADMIN_KEY, ApiKeys
from tests.rigs.soak.invariants import TIMEOUT, ask
from tests.rigs.soak.training_invariants import check_sweep
from tests.rigs.soak.training_steps import TrainingSteps
from tests.service.running import Service, run_service, wait_until
from tests.webhooks.receiver import SECRET, Handler, Server, receiving

MINUTES: Final = float(os.environ.get("MINUTES", "60"))
SEED: Final = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
KEEP_VERSIONS: Final = "1000"  # versions that are kept
JOBS_TIMEOUT: Final = 1800.0  # others may load the machine, too
LOG_TAIL: Final = 5000
REFUSED: Final = 0.2  # of the webhooks
STEPS: Final = {
    "predict": 40, "batch": 8, "spoil": 10, "train": 14, "sweep": 3, "cancel_sweep": 1,
    "change_job": 8, "upload_dataset": 5, "delete_dataset": 3, "store_checkpoint": 5, "swap": 10,
    "upload": 3, "remove": 3, "pause": 8, "kill_training": 3, "kill_worker": 2, "kill_all": 3,
    "restart": 2, "key": 4,
}  # fmt: skip


class Mix(TrainingSteps):
    """Steps in the order that is drawn, and what must hold after each."""

    step = "start"

    def __init__(self, state: Path, rng: random.Random, receiver: Server) -> None:
        super().__init__(state, rng, receiver)
        self.keys = ApiKeys(rng)

    def run(self, seconds: float) -> None:
        """Soak for so long, then let all jobs end."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.serving() as service:
                self.invariants.check_versions()
                while time.monotonic() < deadline and service.process.poll() is None:
                    self.take_step(service)
                self.stop(service, signal.SIGTERM)
        self.step = "end"
        with self.serving() as service:
            self.end_jobs(service)
            self.training.check_deliveries(self.receiver, self.invariants.finished)
            assert wait_until(self.is_clean, TIMEOUT), "files are left"
            self.stop(service, signal.SIGTERM)
        with self.serving() as service:
            assert wait_until(self.is_clean, TIMEOUT), "files are left"
            self.training.check_listed_datasets(service)
            self.stop(service, signal.SIGTERM)

    @contextmanager
    def serving(self) -> Iterator[Service]:
        webhooks = {"webhook_secret": SECRET, "webhook_allow": "127.0.0.1"}
        access = {"auth": "keys", "admin_key": ADMIN_KEY}
        settings = {"workers": "2", "keep_versions": KEEP_VERSIONS} | webhooks | access
        with run_service(self.state, **settings) as service:
            service.key = ADMIN_KEY
            yield service

    def key(self, service: Service) -> None:
        """Create, rotate or revoke an API key."""
        self.keys.change(service)

    def take_step(self, service: Service) -> None:
        """Do what is drawn, and look at what must hold."""
        (name,) = self.rng.choices(list(STEPS), list(STEPS.values()))
        self.step = f"{self.counts.total()}, {name}"
        self.counts[name] += 1
        getattr(self, name)(service)
        self.invariants.check_versions()
        self.training.check_datasets()
        if service.process.poll() is None:
            self.invariants.check_processes(service)
            self.keys.check(service, self.rng.choice(self.images))
            for job in self.rng.sample(self.jobs, min(2, len(self.jobs))):
                body = self.invariants.check_job(service, job)
                self.training.check_checkpoints(service, job, body)

    def end_jobs(self, service: Service) -> None:
        """Wait for all jobs to end, and check that nothing of them is missing."""
        deadline = time.monotonic() + JOBS_TIMEOUT
        for job in self.jobs:
            while self.invariants.check_job(service, job)["finished_at"] is None:
                ask(service, "POST", f"/train/{job}/resume")
                assert time.monotonic() < deadline, f"job {job} does not end"
                time.sleep(0.5)
            self.training.check_checkpoints(service, job, self.invariants.finished[job])
        for sweep in self.sweeps:
            check_sweep(service, sweep)
        self.training.check_stored_checkpoints(service, self.jobs)
        self.invariants.check_event_numbers()

    def is_clean(self) -> bool:
        return not self.invariants.leftover_files()


def main() -> None:
    """Soak; where something does not hold, say after which step."""
    print(f"seed {SEED}, {MINUTES:g} minutes", flush=True)
    started = time.monotonic()
    refusals = random.Random(SEED)

    def answer(handler: Handler) -> None:
        handler.end(503 if refusals.random() < REFUSED else 204)

    # If a check fails, worker processes may still write while the folder is deleted.
    folder = TemporaryDirectory(ignore_cleanup_errors=True)
    with folder as state, receiving(answer=answer) as receiver:
        mix = Mix(Path(state) / "var", random.Random(SEED), receiver)
        try:
            mix.run(60 * MINUTES)
        except BaseException as error:
            for log in Path(state).glob("*.log"):
                print(log.read_text()[-LOG_TAIL:], flush=True)
            error.add_note(f"seed {SEED}, step {mix.step}")
            raise
    counts = ", ".join(f"{count} × {name}" for name, count in mix.counts.most_common())
    ends = Counter(body["status"] for body in mix.invariants.finished.values())
    jobs = ", ".join(f"{count} {status}" for status, count in ends.items())
    print(
        f"seed {SEED}: all held for {(time.monotonic() - started) / 60:.1f} minutes. {counts}. "
        f"Jobs: {jobs or 'none'}. Versions: {len(mix.invariants.observed_versions)}, "
        f"{len(mix.invariants.removed)} removed. Webhooks: {len(receiver.received)}. "
        f"Keys: {len(mix.keys.ids)}."
    )


if __name__ == "__main__":
    main()
