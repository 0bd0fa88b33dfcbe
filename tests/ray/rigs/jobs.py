"""Jobs on Ray: what is asked for, how far they are, and what came of them."""

import json
import threading
from contextlib import closing, suppress
from pathlib import Path

import torch

from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.startup import prepare_registry
from app.train.jobs import job as jobs
from app.train.jobs.assignment import Assignment
from app.train.jobs.events import lines
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.worker import main
from tests.ray.rigs.cluster import TRAIN_WORKER
from tests.service.running import TRAINING_TIMEOUT, wait_until

# On the small data, an epoch takes some 50 ms: long enough for a kill on the way, also by a test
# that looks late.
HYPERPARAMETERS = {"epochs": 100, "batch_size": 1000, "seed": 5, "promote": "never"}
LONG_JOB = {**HYPERPARAMETERS, "epochs": 1000, "batch_size": 10}
TIMEOUT = TRAINING_TIMEOUT


def start_job(service, hyperparameters):
    return service.post("/train", json.dumps(hyperparameters).encode())["id"]


def train_locally(folder, data_dir):
    """Train without Ray; return the digest of the weights, and the log."""
    settings = Settings(state_dir=folder, data_dir=data_dir, device="cpu", train_threads=1)
    registry = prepare_registry(settings)
    with closing(Database(settings.effective_database_url)) as database:
        store = JobStore(database)
        job = jobs.create(store, Hyperparameters(**HYPERPARAMETERS), max_queued=1, key=None)
        attempt = jobs.start(store, job)
        assignment = Assignment(settings=settings, job_id=job.id, attempt=attempt)
        main.run_attempt(assignment, threading.Event())
        (card,) = (card for card in registry.cards() if card.job == job.id)
        return card.weights_digest, "".join(lines(store.events(job.id)))


def outcome(service, job):
    """Wait for the end of a job on Ray, and return the digest of its weights and its log."""
    wait_for_end(service, job, "succeeded")
    cards = service.get("/models")["data"]
    (digest,) = (card["weights_digest"] for card in cards if card["job"] == job)
    return digest, service.text(f"/train/{job}/log")


def wait_for_job(service, job, condition):
    """Wait for a job to be as `condition` says; a node that goes dark takes the connections to its
    proxy along.
    """
    body = {}

    def condition_holds():
        with suppress(OSError):
            body.update(service.get(f"/train/{job}"))
            return condition(body)

    assert wait_until(condition_holds, TIMEOUT), body
    return body


def wait_for_end(service, job, status):
    """Wait for the end of a job."""
    body = wait_for_job(service, job, lambda body: body["finished_at"])
    assert body["status"] == status, body
    return body


def saved_position(folder, job):
    """Return the epochs and batches done in the checkpoint that Ray Train would resume from."""
    run = folder / job
    try:
        snapshot = json.loads((run / "checkpoint_manager_snapshot.json").read_text())
        newest = run / snapshot["latest_checkpoint_result"]["checkpoint_dir_name"]
        position = torch.load(newest / "state.pt", weights_only=True)["position"]
    except (OSError, ValueError, RuntimeError, EOFError):  # none yet, or a newer one
        return 0, 0
    return position["epoch"], len(position["losses"])


def workers(cluster):
    return [pid for node in cluster.nodes for pid in node.running(TRAIN_WORKER)]


def environment(pid):
    """Return the environment variables that a process was started with."""
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(variable.split("=", 1) for variable in variables if variable)


def wait_until_idle(cluster):
    """Wait until no worker trains any more."""
    return wait_until(lambda: not workers(cluster), TIMEOUT)
