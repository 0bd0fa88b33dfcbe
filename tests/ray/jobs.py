"""Jobs on Ray: what is asked for, how far they are, and what came of them."""

import json
import threading
from pathlib import Path

import torch

from app.train import job as jobs
from app.train import run
from app.train.assignment import Assignment
from app.train.hyperparameters import Hyperparameters
from app.train.log import lines
from tests.ray.cluster import TRAINS
from tests.service.running import comes_true

WANTED = {"epochs": 4, "batch_size": 1000, "seed": 5, "promote": "never"}
ENDLESS = {**WANTED, "epochs": 1000}
SOON = 240


def begin(service, wanted):
    return service.post("/train", json.dumps(wanted).encode())["id"]


def trained_here(settings, store, registry):
    """Train without Ray; give the digest of the weights, and the log."""
    settings = settings.model_copy(update={"train_threads": 1})
    job = jobs.create(store, Hyperparameters(**WANTED), most_queued=1, key=None)
    attempt = jobs.start(store, job)
    assignment = Assignment(settings=settings, job_id=job.id, attempt=attempt)
    run.run(assignment, threading.Event())
    (card,) = (card for card in registry.cards() if card.job == job.id)
    return card.weights_digest, "".join(lines(store.events(job.id)))


def outcome(service, job):
    """Wait for its end; give the same of a job on Ray."""
    ended(service, job, "succeeded")
    cards = service.get("/models")["data"]
    (digest,) = (card["weights_digest"] for card in cards if card["job"] == job)
    return digest, service.text(f"/train/{job}/log")


def ended(service, job, status):
    """Wait for its end; a node that goes dark takes the connections to its proxy along."""

    def is_over():
        try:
            return service.get(f"/train/{job}")["status"] in ("succeeded", "failed", "cancelled")
        except OSError:
            return False

    assert comes_true(is_over, SOON)
    body = service.get(f"/train/{job}")
    assert body["status"] == status, body
    return body


def saved(folder, job):
    """Where the newest checkpoint is: epochs and batches done."""
    for file in sorted((folder / job).rglob("state.pt"), reverse=True):
        try:
            position = torch.load(file, weights_only=True)["position"]
        except (OSError, RuntimeError, EOFError):  # it is being removed, or written
            continue
        return position["epoch"], len(position["losses"])
    return 0, 0


def workers(cluster):
    return [pid for node in cluster.nodes for pid in node.running(TRAINS)]


def environment(pid):
    """What the process was started with."""
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(each.split("=", 1) for each in variables if each)


def is_left(cluster):
    """Wait until no worker trains any more."""
    return comes_true(lambda: not workers(cluster), SOON)
