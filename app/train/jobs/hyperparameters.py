"""Hyperparameters of a training job: validation, and defaults by recipe.

The server imports this module, too, so it must not import PyTorch.
"""

import struct
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from app.config.settings import device_name
from app.datasets.records import CORRECTIONS, MNIST, MNIST_TEST, DatasetName
from app.webhooks.request import WebhookRequest

DEVICE: Final = {"pattern": r"^(auto|cpu|cuda(:[0-9]{1,3})?|mps)$"}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: str) -> str:
    # UTF-8 cannot encode surrogates, and not every database stores NUL.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not contain NUL or surrogate characters")
    return value


def _nonzero_float32(value: float) -> float:
    """Return the value. Raises ValueError if PyTorch would compute with 0 instead."""
    if value and not _as_float32(value):
        raise ValueError("is 0 as a float32; use at least 1.2e-38")
    return value


def _float32_below_one(value: float) -> float:
    if _as_float32(value) >= 1:
        raise ValueError("is 1 as a float32; use at most 0.9999999")
    return _nonzero_float32(value)


def _as_float32(value: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


def _distinct(names: list[str]) -> list[str]:
    if len({*names}) < len(names):
        raise ValueError("names a data set twice; name each once")
    return names


MAX_DATASETS: Final = 16
DatasetNames = Annotated[
    list[DatasetName],
    Field(min_length=1, max_length=MAX_DATASETS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_distinct),
]
Text = Annotated[str, AfterValidator(_text)]
Whole = Annotated[int, BeforeValidator(_whole)]  # JSON does not distinguish 3 from 3.0
Seed = Annotated[int, Field(ge=0, lt=2**53), BeforeValidator(_whole)]
Device = Annotated[str, AfterValidator(device_name), Field(json_schema_extra=DEVICE)]
PromoteRule = Literal["if_better", "always", "never"]
Recipe = Literal["documented", "quick", "robust"]
Epochs = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole)]
BatchSize = Annotated[int, Field(ge=1, le=60_000), BeforeValidator(_whole)]
LearningRate = Annotated[
    float,
    Field(gt=0, le=1e38, json_schema_extra={"minimum": 1.2e-38}),
    AfterValidator(_nonzero_float32),
]
Momentum = Annotated[
    float,
    Field(ge=0, lt=1, json_schema_extra={"maximum": 0.9999999}),
    AfterValidator(_float32_below_one),
]
Note = Annotated[str, Field(max_length=1000), AfterValidator(_text)]
# Defaults of the recipes that differ from those of `documented`.
RECIPE_DEFAULTS: Final[dict[str, dict[str, float]]] = {
    "quick": {"epochs": 2, "batch_size": 200, "learning_rate": 0.006},
    "robust": {"epochs": 200, "batch_size": 200, "learning_rate": 0.1},
}


def recipe_defaults(name: str) -> str:
    """Return the defaults of a hyperparameter in the other recipes, for a description."""
    return "; ".join(
        f"{recipe}: {defaults[name]}"
        for recipe, defaults in RECIPE_DEFAULTS.items()
        if name in defaults
    )


class EarlyStopping(BaseModel):
    """When a training ends before its last epoch: if its validation loss stops falling."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    patience: Epochs = Field(  # plain-words: ok
        3, description="epochs without a lower validation loss"
    )
    min_delta: float = Field(0.0, ge=0, description="a loss counts as lower by more than this")


class Init(BaseModel):
    """The weights that a training begins with: those of a version, or of a job's checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Annotated[int, Field(ge=1, le=2**31), BeforeValidator(_whole)] | None = None
    job: Annotated[Text, Field(max_length=100)] | None = Field(
        None, description="id of a job with `keep_checkpoints`; needs `epoch`"
    )
    epoch: Annotated[int, Field(ge=0, lt=1000), BeforeValidator(_whole)] | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "Init":
        set_fields = [name for name, value in self if value is not None]
        if set_fields not in (["version"], ["job", "epoch"]):
            raise ValueError("needs either a version, or a job and an epoch")
        return self


def check_test(value: str, info: ValidationInfo) -> str:
    """Return the test data set. Raises ValueError if the network would be trained with it."""
    with_corrections = [CORRECTIONS] if info.data.get("include_feedback") else []
    if value in (*info.data.get("datasets", ()), *with_corrections):
        raise ValueError("is trained with, too; what is trained with cannot be tested on")
    return value


class Hyperparameters(BaseModel):
    """Hyperparameters of a job. Defaults are the tutorial's, or those of another recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    recipe: Recipe = Field(
        "documented",
        description="the tutorial's loop, a quick one of the same accuracy, or a robust one for "
        "real handwriting",
    )
    epochs: Epochs = Field(10, description=recipe_defaults("epochs"))
    batch_size: BatchSize = Field(100, description=recipe_defaults("batch_size"))
    learning_rate: LearningRate = Field(
        0.01, description=f"a float32; {recipe_defaults('learning_rate')}"
    )
    momentum: Momentum = Field(0.9, description="quick: beta 1 of Adam")
    seed: Seed | None = Field(None, description="random if not set; recorded with the job")
    promote: PromoteRule = "if_better"
    device: Device | None = Field(
        None, description="the device to train on; default: the setting of the service"
    )
    include_feedback: bool = Field(False, description="the same as `corrections` in `datasets`")
    datasets: DatasetNames = Field(
        [MNIST], description="ids or names of the data sets to train with; recorded as ids"
    )
    test_dataset: DatasetName = Field(
        MNIST_TEST,
        validate_default=True,
        description="id or name of the data set that the card and `if_better` are measured on",
    )
    init: Init | None = Field(None, description="weights to begin with; random if not set")
    keep_checkpoints: bool = Field(
        False, description="keep the weights of each epoch: see `/train/{job_id}/checkpoints`"
    )
    validation_fraction: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        json_schema_extra={"maximum": 0.49},
        description="share of the training images that is held out, drawn from the seed",
    )
    early_stopping: EarlyStopping | None = Field(
        None, description="needs a `validation_fraction`; the best epoch becomes the version"
    )
    max_seconds: float | None = Field(
        None, gt=0, le=1e9, description="time of the epochs after which the training ends in order"
    )
    note: Note | None = Field(None, description="stored on the card of the version")

    @field_validator("early_stopping")
    @classmethod
    def _check_validation(
        cls, value: EarlyStopping | None, info: ValidationInfo
    ) -> EarlyStopping | None:
        if value is not None and info.data.get("validation_fraction") == 0:
            raise ValueError("needs a validation_fraction above 0, such as 0.1")
        return value

    @property
    def training_datasets(self) -> list[str]:
        """The data sets to train with, also the corrections of `include_feedback`."""
        more = [CORRECTIONS] if self.include_feedback else []
        return [*self.datasets, *(name for name in more if name not in self.datasets)]

    @field_validator("test_dataset")
    @classmethod
    def _check_test(cls, value: str, info: ValidationInfo) -> str:
        return check_test(value, info)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        recipe = data.get("recipe") if isinstance(data, dict) else None
        return RECIPE_DEFAULTS.get(recipe, {}) | data if isinstance(recipe, str) else data


class TrainRequest(Hyperparameters):
    """The body of `POST /train`: the hyperparameters of a job, and what is not one of them."""

    webhook: WebhookRequest | None = Field(
        None, description="where to send the end of the job; default: nowhere"
    )
    dry_run: bool = Field(
        False, description="check everything and queue nothing; answered with `200`"
    )

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Return the hyperparameters alone."""
        return Hyperparameters(**self.model_dump(exclude={"webhook", "dry_run"}))


def learns_non_digits(recipe: Recipe) -> bool:
    """Return whether a recipe trains with corrections that show no digit."""
    return recipe == "robust"
