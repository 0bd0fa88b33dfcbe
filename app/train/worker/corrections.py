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
from app.train.recipes.dataset import Corrections, Digits, no_pixels
from app.train.worker.attempt import JobAttempt, Stopped
from app.train.worker.state import CorruptCheckpoint

log = logging.getLogger(__name__)


def load_or_gather(attempt: JobAttempt, stop: threading.Event) -> Corrections:
    """Return the corrections of a job, gathered by its first attempt.

    Raises BucketUnavailable, CorruptCheckpoint, Stopped.
    """
    path = attempt.files.corrections
    if not path.exists():
        settings = attempt.settings
        feedback = FeedbackStore(settings.feedback_dir, settings.max_feedback)
        beat = attempt.heartbeat.beat
        found = gather(feedback, settings.max_pixels, stop, beat)
        attempt.files.store_corrections(_to_bytes(found))
        log.info("corrections gathered: job=%s count=%d", attempt.job.id, len(_load(path)))
    return _load(path)


def gather(
    feedback: FeedbackStore, max_pixels: int, stop: threading.Event, beat: Callable[[], None]
) -> Corrections:
    """Return all corrections, oldest first, normalised as for predictions. Raises Stopped.

    Unreadable corrections are skipped. `beat` is called for each one.
    """
    found: list[tuple[int | None, Tensor]] = []
    for correction in reversed(feedback.all()):
        if stop.is_set():
            raise Stopped
        beat()
        try:
            grey = to_grey(open_image(feedback.read(correction), max_pixels)).pixels
            found.append((correction.label, torch.from_numpy(normalise(grey).pixels.copy())))
        except NotFound:
            continue  # deleted after it was listed
        except ServiceError as error:
            log.error("correction skipped: id=%s error=%s", correction.id, error)
    digits = [(label, pixels) for label, pixels in found if label is not None]
    labels = torch.tensor([label for label, _ in digits], dtype=torch.int64)
    return Corrections(
        Digits(_stack([pixels for _, pixels in digits]), labels),
        _stack([pixels for label, pixels in found if label is None]),
    )


def _stack(pixels: list[Tensor]) -> Tensor:
    return torch.stack(pixels) if pixels else no_pixels()


def _to_bytes(corrections: Corrections) -> bytes:
    # In memory: with a full disk, torch raises errors of its own instead of OSError.
    buffer, digits = BytesIO(), corrections.digits
    tensors = {"pixels": digits.pixels, "labels": digits.labels}
    torch.save(tensors | {"non_digits": corrections.non_digits}, buffer)
    return buffer.getvalue()


def _load(path: Path) -> Corrections:
    try:
        tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
        digits = Digits(tensors["pixels"], tensors["labels"])
        # A file that an older release stored has no images without a digit.
        return Corrections(digits, tensors.get("non_digits", no_pixels()))
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        raise CorruptCheckpoint(f"{path} is not a file of corrections: {error}") from error
