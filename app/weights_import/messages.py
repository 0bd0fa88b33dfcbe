"""Messages between the server and the import worker.

The worker may have run hostile code, so the models bound every value that it returns.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.net import DIGITS
from app.versions.card import Metrics
from app.versions.unwrap import MAX_PREFIX, MAX_WRAPPERS, WRAPPER

READING: Final = b"reading"
# MyNet has 346,742 parameters of 4 bytes; the header of the safetensors format takes the rest.
MAX_WEIGHTS_BYTES: Final = 2 * 1024**2
MAX_DETAIL: Final = 4000
MAX_COUNT: Final = 1_000_000
Wrapper = Annotated[str, Field(pattern=rf"^{WRAPPER.pattern}$", max_length=MAX_PREFIX)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Row = Annotated[list[Count], Field(min_length=DIGITS, max_length=DIGITS)]


class ImportRequest(BaseModel):
    """A file to read, and what the worker needs for that: no secret, no registry, no database."""

    path: Path
    data_dir: Path
    threads: int
    log_level: str
    log_format: Literal["text", "json"]


class WorkerMetrics(Metrics):
    """Metrics whose values and lengths are possible ones."""

    test_accuracy: Share
    calibration_error: Share | None = None
    confusion: Annotated[list[Row], Field(min_length=DIGITS, max_length=DIGITS)]


class Evaluation(BaseModel):
    """The result for valid weights; `weights_bytes` bytes in safetensors format follow it."""

    model_config = ConfigDict(extra="forbid")

    metrics: WorkerMetrics
    data_digest: str = Field(pattern="^[0-9a-f]{64}$")
    wrappers: list[Wrapper] = Field([], max_length=MAX_WRAPPERS)
    weights_bytes: int = Field(gt=0, le=MAX_WEIGHTS_BYTES)


class Refusal(BaseModel):
    """The result for a file that was not imported: the error that the client gets."""

    model_config = ConfigDict(extra="forbid")

    code: Literal["malformed_request", "invalid_field", "not_ready"]
    detail: str = Field(max_length=MAX_DETAIL)


RESULT: Final[TypeAdapter[Evaluation | Refusal]] = TypeAdapter(Evaluation | Refusal)
