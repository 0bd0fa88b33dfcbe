"""A version's card: what is known about a set of weights, written where the weights are.

What enters: measurements and circumstances of a training. What leaves: JSON, and back. This module
does not know where cards are kept, nor how anything on them was measured.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class EpochRecord(BaseModel):
    """One epoch as it ended; `epoch` counts from 0, losses are mean cross-entropy."""

    epoch: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    seconds: float


class Metrics(BaseModel):
    """What a network does on MNIST's 10,000 held-out test images."""

    test_accuracy: float
    test_loss: float
    recall: list[float] = Field(description="share of each digit's images that are read right")
    confusion: list[list[int]] = Field(description="images by label (row) and answer (column)")
    energy_threshold: float = Field(
        description="logsumexp of the logits under which an image does not look like a digit"
    )


class Card(Metrics):
    """One version: its metrics, and all that is needed to make it again."""

    model_config = ConfigDict(frozen=True)

    version: int = 0
    origin: Literal["trained", "checkpoint", "uploaded"]
    created_at: datetime
    recipe: str | None = None
    hyperparameters: dict[str, Any] | None = None
    epochs: list[EpochRecord] = []
    seconds: float | None = None
    job: str | None = None
    parent: int | None = Field(None, description="the version that was current when this was made")
    note: str | None = None
    data_digest: str = Field(description="of the four MNIST archives' contents, sha256")
    weights_digest: str = Field(description="of the tensors as safetensors lays them out, sha256")
    device: str | None = None
    threads: int | None = None
    torch_version: str
    code_version: str
