"""Jobs on Ray: what is asked for, how far they are, and what came of them."""

import json
import threading
from contextlib import closing, suppress
from pathlib import Path

import torch

from app.config.settings import Settings
from app.database.store import Store
from app.startup import prepare_registry
from app.train.jobs import job as jobs
from app.train.jobs.assignment import Assignment
from app.train.jobs.events import lines
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.worker import main
from tests.ray.cluster import TRAINS
from tests.service.running import wait_until

# On the small data, an epoch takes some 50 ms: long enough for a kill on the way, also by a test
# that looks late.
WANTED = {"epochs": 100, "batch_size": 1000, "seed": 5, "promote": "never"}
ENDLESS = {**WANTED, "epochs": 1000, "batch_size": 10}
SOON = 240


def begin(service, wanted):
    return service.post("/train", json.dumps(wanted).encode())["id"]


def trained_here(folder, data_dir):
    """Train without Ray; return the digest of the weights, and the log."""
    settings = Settings(state_dir=folder, data_dir=data_dir, device="cpu", train_threads=1)
    registry = prepare_registry(settings)
    with closing(Store(settings.effective_database_url)) as store:
        job = jobs.create(store, Hyperparameters(**WANTED), max_queued=1, key=None)
        attempt = jobs.start(store, job)
        assignment = Assignment(settings=settings, job_id=job.id, attempt=attempt)
        main.run(assignment, threading.Event())
        (card,) = (card for card in registry.cards() if card.job == job.id)
        return card.weights_digest, "".join(lines(store.events(job.id)))


def outcome(service, job):
    """Wait for its end; give the same of a job on Ray."""
    ended(service, job, "succeeded")
    cards = service.get("/models")["data"]
    (digest,) = (card["weights_digest"] for card in cards if card["job"] == job)
    return digest, service.text(f"/train/{job}/log")


def until(service, job, condition):
    """Wait for a job to be as `condition` says; a node that goes dark takes the connections to its
    proxy along.
    """
    told = {}

    def is_so():
        with suppress(OSError):
            told.update(service.get(f"/train/{job}"))
            return condition(told)

    assert wait_until(is_so, SOON), told
    return told


def ended(service, job, status):
    """Wait for its end."""
    body = until(service, job, lambda body: body["finished_at"])
    assert body["status"] == status, body
    return body


def saved(folder, job):
    """Where the checkpoint is that Ray Train would go on from: epochs and batches done."""
    run = folder / job
    try:
        snapshot = json.loads((run / "checkpoint_manager_snapshot.json").read_text())
        newest = run / snapshot["latest_checkpoint_result"]["checkpoint_dir_name"]
        position = torch.load(newest / "state.pt", weights_only=True)["position"]
    except (OSError, ValueError, RuntimeError, EOFError):  # none yet, or a newer one
        return 0, 0
    return position["epoch"], len(position["losses"])


def workers(cluster):
    return [pid for node in cluster.nodes for pid in node.running(TRAINS)]


def environment(pid):
    """What the process was started with."""
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(each.split("=", 1) for each in variables if each)


def is_left(cluster):
    """Wait until no worker trains any more."""
    return wait_until(lambda: not workers(cluster), SOON)
