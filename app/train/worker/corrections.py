"""Corrections of a training job, fixed when its first attempt starts.

They are stored next to the job's saved state, because corrections are added and deleted while the
job runs. An attempt that resumes from that state must train with the same ones.
"""

import logging
import pickle
import threading
from collections.abc import Callable
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
    """Return the corrections of a job, gathered by its first attempt.

    Raises BucketUnavailable, CorruptCheckpoint, Stopped.
    """
    path = attempt.files.corrections
    if not path.exists():
        settings = attempt.settings
        feedback = FeedbackStore(settings.feedback_dir, settings.max_feedback)
        beat = attempt.heartbeat.beat
        digits = gather(feedback, settings.max_pixels, stop, beat)
        attempt.files.store_corrections(_to_bytes(digits))
        log.info("corrections gathered: job=%s count=%d", attempt.job.id, len(_load(path)))
    return _load(path)


def gather(
    feedback: FeedbackStore, max_pixels: int, stop: threading.Event, beat: Callable[[], None]
) -> Digits:
    """Return all corrections, oldest first, normalised as for predictions. Raises Stopped.

    Unreadable corrections are skipped. `beat` is called for each one.
    """
    pixels, labels = [], []
    for correction in reversed(feedback.all()):
        if stop.is_set():
            raise Stopped
        beat()
        try:
            grey = to_grey(open_image(feedback.read(correction), max_pixels)).pixels
            pixels.append(torch.from_numpy(normalise(grey).pixels.copy()))
            labels.append(correction.label)
        except NotFound:
            continue  # deleted after it was listed
        except ServiceError as error:
            log.error("correction skipped: id=%s error=%s", correction.id, error)
    empty = torch.empty((0, SIDE, SIDE), dtype=torch.uint8)
    stacked = torch.stack(pixels) if pixels else empty
    return Digits(stacked, torch.tensor(labels, dtype=torch.int64))


def _to_bytes(digits: Digits) -> bytes:
    # In memory: with a full disk, torch raises errors of its own instead of OSError.
    buffer = BytesIO()
    torch.save({"pixels": digits.pixels, "labels": digits.labels}, buffer)
    return buffer.getvalue()


def _load(path: Path) -> Digits:
    try:
        tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
        return Digits(tensors["pixels"], tensors["labels"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        raise CorruptCheckpoint(f"{path} is not a file of corrections: {error}") from error
