"""Response bodies of `/health`."""

from typing import Literal

from pydantic import BaseModel, Field


class Alive(BaseModel):
    status: Literal["live"] = "live"


class Retraining(BaseModel):
    """Until a job with all corrections starts by itself (`MYNET_RETRAIN_AFTER`)."""

    new: int = Field(description="corrections since the last job that trained with them started")
    after: int = Field(description="new corrections after which a job starts")


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    version: int
    device: str
    lost: str | None = Field(
        None, description="the device's error, if the CPU answers because the device failed"
    )
    decoders: int = Field(description="running processes that decode images")
    images: dict[str, int] = Field(
        description="images since this process started, by outcome: `answered`, or the error code"
    )
    retraining: Retraining | None = Field(None, description="null if no job starts by itself")
