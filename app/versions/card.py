"""Model card: the metrics and provenance of a version, stored in the file of its weights."""

from datetime import datetime
from math import sqrt
from statistics import NormalDist
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

Z: Final = NormalDist().inv_cdf(0.975)


class EpochRecord(BaseModel):
    """The results of one epoch; `epoch` counts from 0, losses are mean cross-entropy."""

    model_config = ConfigDict(allow_inf_nan=False)

    epoch: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    validation_loss: float | None = Field(None, description="null if no images were held out")
    validation_accuracy: float | None = None
    seconds: float


class DatasetReference(BaseModel):
    """A data set as it was when a job first started."""

    id: str
    name: str
    digest: str = Field(description="sha256 of the normalised pixels and the labels")
    images: int
    non_digits: int = Field(
        0, description="how many of the images show no digit: corrections, with the recipe `robust`"
    )


class TrainingData(BaseModel):
    """The data sets that a job trains with, in their order, and the one that it is tested on."""

    train: list[DatasetReference]
    test: DatasetReference


class Metrics(BaseModel):
    """The results of a network on the test images: MNIST's 10,000, or those of `test_dataset`."""

    model_config = ConfigDict(allow_inf_nan=False)  # JSON has no infinities or NaN

    test_accuracy: float
    test_loss: float
    calibration_error: float | None = Field(
        None, description="expected calibration error; null if it was not measured"
    )
    confusion: list[list[int]] = Field(
        description="number of images by label (row) and predicted digit (column)"
    )
    energy_threshold: float = Field(
        description="threshold of the logits' logsumexp; below it, an image is not a digit"
    )
    temperature: float = Field(
        1.0, gt=0, description="divisor of the logits that calibrates the confidence"
    )

    @computed_field(description="95 % interval of the test accuracy (Wilson 1927)")  # type: ignore[prop-decorator]
    @property
    def test_accuracy_interval(self) -> tuple[float, float]:
        return wilson(self.test_accuracy, sum(map(sum, self.confusion)))

    @computed_field(description="by digit: share of its predictions that are correct")  # type: ignore[prop-decorator]
    @property
    def precision(self) -> list[float]:
        answers = [sum(column) for column in zip(*self.confusion, strict=True)]
        return [_share(self.confusion[digit][digit], n) for digit, n in enumerate(answers)]

    @computed_field(description="by digit: share of its images that are predicted correctly")  # type: ignore[prop-decorator]
    @property
    def recall(self) -> list[float]:
        return [_share(row[digit], sum(row)) for digit, row in enumerate(self.confusion)]


class CheckpointName(BaseModel):
    """The weights of a job after an epoch."""

    job: str
    epoch: int


class Card(Metrics):
    """A version: its metrics, and everything needed to reproduce it."""

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
    parent: int | None = Field(
        None,
        description="the version whose weights the training began with; without `init`, the "
        "version that was live when this one was created",
    )
    parent_checkpoint: CheckpointName | None = Field(
        None, description="the checkpoint whose weights the training began with; then no `parent`"
    )
    checkpoint: int | None = Field(
        None, description="the epoch of the job's checkpoint that became this version"
    )
    note: str | None = None
    wrappers: list[str] = Field(
        [],
        description="what an uploaded file had around the names of its weights, from outside in, "
        "and was removed: keys such as `state_dict`, then a prefix such as `module.`",
    )
    other_datasets: dict[str, float] = Field(
        {},
        alias="elsewhere",  # plain-words: ok
        description="accuracy on other images, and the share of non-digits taken for digits",
    )
    feedback: int | None = Field(
        None, description="number of corrections in the training set; null if not requested"
    )
    data: TrainingData | None = Field(
        None, description="the data sets of the training; null for an older or uploaded version"
    )
    data_digest: str = Field(
        description="sha256 of all training and test images with their labels, also of corrections"
    )
    weights_digest: str = Field(description="sha256 of the tensors in safetensors layout")
    device: str | None = None
    threads: int | None = None
    torch_version: str = Field(description="empty if PyTorch was not installed")
    code_version: str


def wilson(share: float, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share measured on `of` images (Wilson 1927)."""
    if of == 0:
        return 0.0, 1.0
    middle = share + Z**2 / (2 * of)
    half = Z * sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    scale = 1 + Z**2 / of
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _share(right: int, of: int) -> float:
    """Return right / of, or 0 if `of` is 0: the digit never occurs, or is never predicted."""
    return right / of if of else 0.0
