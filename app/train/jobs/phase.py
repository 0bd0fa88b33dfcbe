"""Phases of a running job: what its process does, also before the first batch."""

from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """What the process of a running job does. `starting` begins with the attempt."""

    STARTING = "starting"
    LOADING = "loading"
    DRAWING = "drawing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    STORING = "storing"


def phase_data(phase: Phase, done: int | None = None, total: int | None = None) -> dict[str, Any]:
    """Return the phase as the job and its event store it; with counts if it has any."""
    counts = {} if total is None else {"done": done, "total": total}
    return {"name": phase, **counts}
