"""Hyperparameter grid: the request of a sweep, with one value or a list for each field."""

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from math import prod
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.datasets.records import MNIST, MNIST_TEST, DatasetName
from app.train.jobs.hyperparameters import (
    BatchSize,
    DatasetNames,
    Device,
    Epochs,
    Hyperparameters,
    LearningRate,
    Momentum,
    Note,
    Recipe,
    Seed,
    Text,
    check_test,
)

MAX_JOBS: Final = 64
PROMOTES_NOTHING: Final = (
    "must be never, because the test images select the best job and so cannot show that it beats "
    "the live version. Leave the field out, and promote the version of `best` in GET /sweeps/ID "
    "with PUT /models/current"
)
T = TypeVar("T")
Never = Literal["never"]
# Tags of the two forms of a field. They are removed from the locations of errors.
ONE, LIST = "<one>", "<list>"


def _kind(value: Any) -> str:
    return LIST if isinstance(value, list) else ONE


def _check_distinct(values: list[T]) -> list[T]:
    if any(value in values[:index] for index, value in enumerate(values)):
        raise ValueError("contains a value twice; list each value once")
    return values


Several = Annotated[
    list[T],
    Field(min_length=1, max_length=MAX_JOBS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_check_distinct),
]
OneOrMore = Annotated[
    Annotated[T, Tag(ONE)] | Annotated[Several[T], Tag(LIST)], Discriminator(_kind)
]


class Grid(BaseModel):
    """The hyperparameters of a sweep. Each combination of the listed values becomes a job."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: Text | None = Field(None, max_length=200)
    recipe: OneOrMore[Recipe] = "documented"
    epochs: OneOrMore[Epochs] = 10
    batch_size: OneOrMore[BatchSize] = 100
    learning_rate: OneOrMore[LearningRate] = 0.01
    momentum: OneOrMore[Momentum] = 0.9
    seed: OneOrMore[Seed] | None = Field(
        None, description="random if not set, the same for all jobs; recorded"
    )
    promote: Never = Field(
        "never", description="a sweep promotes nothing; `best` names its best job"
    )
    device: OneOrMore[Device] | None = None
    include_feedback: OneOrMore[bool] = False
    datasets: DatasetNames = Field(
        [MNIST], description="ids or names of the data sets that all jobs train with"
    )
    test_dataset: DatasetName = Field(
        MNIST_TEST,
        validate_default=True,
        description="id or name of the data set that all jobs are measured on",
    )
    note: Note | None = Field(None, description="stored on the card of each version")

    @field_validator("test_dataset")
    @classmethod
    def _check_test(cls, value: str, info: ValidationInfo) -> str:
        return check_test(value, info)

    @property
    def swept(self) -> list[str]:
        """Return the names of the hyperparameters that differ between jobs."""
        return [name for name, values in self._values.items() if len(values) > 1]

    def jobs(self, seed: int) -> list[Hyperparameters]:
        """Return the hyperparameters of each job. `seed` is used if the request has none."""
        axes = self._values if self.seed is not None else self._values | {"seed": [seed]}
        return [
            Hyperparameters(**dict(zip(axes, values, strict=True)), promote="never")
            for values in product(*axes.values())
        ]

    @cached_property
    def _values(self) -> dict[str, Sequence[Any]]:
        """Return the values of the request; the recipe supplies the others."""
        fields = [name for name in Hyperparameters.model_fields if name in self.model_fields_set]
        requested = {name: getattr(self, name) for name in fields if name != "promote"}
        return {
            name: value if _kind(value) == LIST and name != "datasets" else [value]
            for name, value in requested.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _check_promotes_nothing(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("promote", "never") != "never":
            raise _field_error("promote", PROMOTES_NOTHING)
        return data

    @model_validator(mode="after")
    def _check_size(self) -> "Grid":
        jobs = prod(map(len, self._values.values()))
        if jobs > MAX_JOBS:
            raise _field_error(
                self.swept[0],
                f"makes {jobs} jobs with the other lists, and the limit is {MAX_JOBS}",
            )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _rename_error_fields(cls, data: Any, handler: ModelWrapValidatorHandler["Grid"]) -> "Grid":
        """Use the client's names of fields in errors."""
        try:
            return handler(data)
        except ValidationError as error:
            errors = [_with_client_location(dict(details)) for details in error.errors()]
            raise ValidationError.from_exception_data(cls.__name__, errors) from None


def _field_error(name: str, message: str) -> ValidationError:
    problem = PydanticCustomError("value_error", "{problem}", {"problem": message})
    return ValidationError.from_exception_data(
        "Grid", [InitErrorDetails(type=problem, loc=(name,), input=None)]
    )


def _with_client_location(error: dict[str, Any]) -> InitErrorDetails:
    location = tuple(part for part in error["loc"] if part not in (ONE, LIST))
    message = error["msg"].removeprefix("Value error, ")
    kind = PydanticCustomError(error["type"], "{problem}", {"problem": message})
    return InitErrorDetails(type=kind, loc=location, input=error["input"])
