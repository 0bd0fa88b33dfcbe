"""Hyperparameters of a training job: validation, and defaults by recipe.

The server imports this module, too, so it must not import PyTorch.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.config.settings import device_name

DEVICE: Final = {"pattern": r"^(auto|cpu|cuda(:[0-9]{1,3})?|mps)$"}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: str) -> str:
    # UTF-8 cannot encode surrogates, and not every database stores NUL.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not contain NUL or surrogate characters")
    return value


Text = Annotated[str, AfterValidator(_text)]
Whole = Annotated[int, BeforeValidator(_whole)]  # JSON does not distinguish 3 from 3.0
Seed = Annotated[int, Field(ge=0, lt=2**53), BeforeValidator(_whole)]
Device = Annotated[str, AfterValidator(device_name), Field(json_schema_extra=DEVICE)]
PromoteRule = Literal["if_better", "always", "never"]
Recipe = Literal["documented", "robust"]
Epochs = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole)]
BatchSize = Annotated[int, Field(ge=1, le=60_000), BeforeValidator(_whole)]
LearningRate = Annotated[float, Field(gt=0, le=1e38)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Note = Annotated[Text, Field(max_length=1000)]
ROBUST_DEFAULTS: Final = {"epochs": 200, "batch_size": 200, "learning_rate": 0.1}


class Hyperparameters(BaseModel):
    """Hyperparameters of a job. Defaults are the tutorial's, or those of the recipe `robust`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    recipe: Recipe = Field(
        "documented", description="the tutorial's loop, or a robust one for real handwriting"
    )
    epochs: Epochs = Field(10, description=f"robust: {ROBUST_DEFAULTS['epochs']}")
    batch_size: BatchSize = Field(100, description=f"robust: {ROBUST_DEFAULTS['batch_size']}")
    learning_rate: LearningRate = Field(
        0.01, description=f"a float32; robust: {ROBUST_DEFAULTS['learning_rate']}"
    )
    momentum: Momentum = 0.9
    seed: Seed | None = Field(None, description="random if not set; recorded with the job")
    promote: PromoteRule = "if_better"
    device: Device | None = Field(
        None, description="the device to train on; default: the setting of the service"
    )
    include_feedback: bool = Field(
        False, description="train with MNIST and the corrections of `/feedback`"
    )
    note: Note | None = Field(None, description="stored on the card of the version")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        is_robust = isinstance(data, dict) and data.get("recipe") == "robust"
        return ROBUST_DEFAULTS | data if is_robust else data
