"""A version's card: what is known about a set of weights, written where the weights are.

What enters: measurements and circumstances of a training. What leaves: JSON, and back. This module
does not know where cards are kept, nor how anything on them was measured.
"""

from datetime import datetime
from math import sqrt
from statistics import NormalDist
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

Z: Final = NormalDist().inv_cdf(0.975)


class EpochRecord(BaseModel):
    """One epoch as it ended; `epoch` counts from 0, losses are mean cross-entropy."""

    model_config = ConfigDict(allow_inf_nan=False)

    epoch: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    seconds: float


class Metrics(BaseModel):
    """What a network does on MNIST's 10,000 held-out test images."""

    model_config = ConfigDict(allow_inf_nan=False)  # JSON has no such numbers

    test_accuracy: float
    test_loss: float
    calibration_error: float | None = Field(
        None, description="expected calibration error; null where it was not measured"
    )
    confusion: list[list[int]] = Field(description="images by label (row) and answer (column)")
    energy_threshold: float = Field(
        description="logsumexp of the logits under which an image does not look like a digit"
    )
    temperature: float = Field(
        1.0, gt=0, description="what logits are divided by, so that confidence is what it says"
    )

    @computed_field(description="95 % of the test accuracy, after Wilson 1927")  # type: ignore[prop-decorator]
    @property
    def test_accuracy_interval(self) -> tuple[float, float]:
        return wilson(self.test_accuracy, sum(map(sum, self.confusion)))

    @computed_field(description="by digit: share of the answers that are right")  # type: ignore[prop-decorator]
    @property
    def precision(self) -> list[float]:
        answers = [sum(column) for column in zip(*self.confusion, strict=True)]
        return [_share(self.confusion[digit][digit], n) for digit, n in enumerate(answers)]

    @computed_field(description="by digit: share of its images that are read right")  # type: ignore[prop-decorator]
    @property
    def recall(self) -> list[float]:
        return [_share(row[digit], sum(row)) for digit, row in enumerate(self.confusion)]


class Card(Metrics):
    """One version: its metrics, and all that is needed to make it again."""

    model_config = ConfigDict(
        frozen=True, allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )

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
    other_datasets: dict[str, float] = Field(
        {},
        alias="elsewhere",
        description="shares of other images that are read right, or taken for digits",
    )
    feedback: int | None = Field(
        None, description="corrections that it was trained with; null where none were asked for"
    )
    data_digest: str = Field(
        description="of the four MNIST archives' contents, and of the corrections, sha256"
    )
    weights_digest: str = Field(description="of the tensors as safetensors lays them out, sha256")
    device: str | None = None
    threads: int | None = None
    torch_version: str
    code_version: str


def wilson(share: float, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was measured on `of` images (Wilson 1927)."""
    if of == 0:
        return 0.0, 1.0
    middle = share + Z**2 / (2 * of)
    half = Z * sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    scale = 1 + Z**2 / of
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _share(right: int, of: int) -> float:
    """A digit that is never there, or never answered, has nothing right."""
    return right / of if of else 0.0
