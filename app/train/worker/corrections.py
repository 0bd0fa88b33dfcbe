"""The corrections that a job trains with: those that there were when it first began.

What enters: the feedback folder, and the file in which a job keeps its own. What leaves: digits in
MNIST's form. This module does not know which recipe learns from them, nor who corrected.

They are kept beside the job's saved state, since they come and go while it runs: an attempt that
goes on from that state has to train with the very same.
"""

import logging
import pickle
import threading
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from app.errors import NotFound, ServiceError
from app.feedback import FeedbackStore
from app.image.decode import open_image, to_grey
from app.image.normalise import normalise
from app.net import SIDE
from app.train.recipes.dataset import Digits
from app.train.worker.attempt import JobAttempt, Stopped
from app.train.worker.state import CorruptCheckpoint

log = logging.getLogger(__name__)


def load_or_gather(attempt: JobAttempt, stop: threading.Event) -> Digits:
    """Return a job's corrections, as its first attempt found them.

    Raises BucketUnavailable, CorruptCheckpoint, Stopped.
    """
    path = attempt.files.corrections
    if not path.exists():
        settings = attempt.settings
        feedback = FeedbackStore(settings.feedback_dir, settings.max_feedback)
        attempt.files.store_corrections(_to_bytes(gather(feedback, settings.max_pixels, stop)))
        log.info("job %s: trains with %d corrections", attempt.job.id, len(_load(path)))
    return _load(path)


def gather(feedback: FeedbackStore, max_pixels: int, stop: threading.Event) -> Digits:
    """Normalise all corrections, oldest first, as predictions are; what cannot be read any more is
    passed over. Raises Stopped.
    """
    pixels, labels = [], []
    for correction in reversed(feedback.all()):
        if stop.is_set():
            raise Stopped
        try:
            grey = to_grey(open_image(feedback.read(correction), max_pixels)).pixels
            pixels.append(torch.from_numpy(normalise(grey).pixels.copy()))
            labels.append(correction.label)
        except NotFound:
            continue  # it was deleted after it was listed
        except ServiceError as error:
            log.error("correction %s is passed over: %s", correction.id, error)
    empty = torch.empty((0, SIDE, SIDE), dtype=torch.uint8)
    stacked = torch.stack(pixels) if pixels else empty
    return Digits(stacked, torch.tensor(labels, dtype=torch.int64))


def _to_bytes(digits: Digits) -> bytes:
    # In memory, so that a full disk is an OSError and not one of torch's own.
    buffer = BytesIO()
    torch.save({"pixels": digits.pixels, "labels": digits.labels}, buffer)
    return buffer.getvalue()


def _load(path: Path) -> Digits:
    try:
        tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
        return Digits(tensors["pixels"], tensors["labels"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        raise CorruptCheckpoint(f"{path} holds no corrections: {error}") from error
