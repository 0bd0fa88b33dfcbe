"""What may be asked of a training.

What enters: a client's wishes. What leaves: the same, checked, with the recipe's values for what
was not asked. This module does not know what a recipe makes of them, and is light: the server
imports it, too.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.config.settings import device_name

DEVICE: Final = {"pattern": r"^(auto|cpu|cuda(:[0-9]{1,3})?|mps)$"}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: str) -> str:
    # Neither UTF-8 nor every database has room for these, and no reader a sign.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must be text, without NUL and halves of characters")
    return value


Text = Annotated[str, AfterValidator(_text)]
Whole = Annotated[int, BeforeValidator(_whole)]  # JSON knows no difference between 3 and 3.0
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
    """What may be asked of a training. The defaults are the tutorial's, or those of `robust`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    recipe: Recipe = Field(
        "documented", description="the tutorial's loop, or augmented, for real handwriting"
    )
    epochs: Epochs = Field(10, description=f"robust: {ROBUST_DEFAULTS['epochs']}")
    batch_size: BatchSize = Field(100, description=f"robust: {ROBUST_DEFAULTS['batch_size']}")
    learning_rate: LearningRate = Field(
        0.01, description=f"a float32; robust: {ROBUST_DEFAULTS['learning_rate']}"
    )
    momentum: Momentum = 0.9
    seed: Seed | None = Field(None, description="drawn where it is not given, and recorded")
    promote: PromoteRule = "if_better"
    device: Device | None = Field(
        None, description="where to train; the service's setting where it is not given"
    )
    include_feedback: bool = Field(
        False, description="train with the corrections of `/feedback` beside MNIST"
    )
    note: Note | None = Field(None, description="kept on the version's card")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        is_robust = isinstance(data, dict) and data.get("recipe") == "robust"
        return ROBUST_DEFAULTS | data if is_robust else data
