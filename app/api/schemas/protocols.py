"""Schemas of the `/v1` and `/v2` bodies for the OpenAPI document.

They describe more than the routes check.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from app.api.schemas.predictions import Prediction
from app.net import PIXELS, SIDE

Tone = Annotated[int, Field(ge=0, le=255)]
Row = Annotated[list[Tone], Field(min_length=SIDE, max_length=SIDE)]
Rows = Annotated[list[Row], Field(min_length=SIDE, max_length=SIDE)]
Flat = Annotated[list[Tone], Field(min_length=PIXELS, max_length=PIXELS)]
BASE64: Final = {"contentEncoding": "base64", "contentMediaType": "image/*"}
Encoded = Annotated[str, Field(json_schema_extra=BASE64)]


class Failure(BaseModel):
    """An error message."""

    error: str


class Base64(BaseModel):
    b64: Encoded


class V1Instances(BaseModel):
    """Images, each encoded or as pixels: 0 for the background, 255 for ink."""

    instances: list[Encoded | Base64 | Rows | Flat] = Field(min_length=1)


class V1Predictions(BaseModel):
    predictions: list[Prediction]


class V1Models(BaseModel):
    models: list[str]


class ModelReady(BaseModel):
    name: str
    ready: bool


class V2Live(BaseModel):
    live: bool


class V2Ready(BaseModel):
    ready: bool


class V2Server(BaseModel):
    name: str
    version: str
    extensions: list[str]


class V2Described(BaseModel):
    """A tensor's name, datatype and shape; -1 stands for any number of images."""

    name: str
    datatype: str
    shape: list[int]


class V2Model(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[V2Described]
    outputs: list[V2Described]


class V2Input(BaseModel):
    """Images: numbers or base64 in `data`, or `binary_data_size` bytes after the JSON."""

    name: Literal["image"]
    shape: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1,
        max_length=3,
        description="[n, 28, 28] or [n, 784]; [n] for BYTES: encoded images",
    )
    datatype: Literal["UINT8", "FP32", "BYTES"] = Field(
        description="UINT8 from 0 to 255, FP32 from 0 to 1, 0 being the background"
    )
    parameters: dict[str, Any] = Field({}, description="`binary_data_size`, in bytes")
    data: list[Any] | None = Field(None, description="in row-major order, nested or flat")


class V2Wanted(BaseModel):
    name: Literal["digit", "probabilities"]
    parameters: dict[str, Any] = Field({}, description="`binary_data`: as bytes after the JSON")


class V2Inference(BaseModel):
    """A request; other fields and parameters are ignored."""

    id: str | None = Field(None, description="returned with the response")
    parameters: dict[str, Any] = Field({}, description="`binary_data_output`: all outputs as bytes")
    inputs: list[V2Input] = Field(min_length=1, max_length=1)
    outputs: list[V2Wanted] | None = Field(None, description="the outputs to return; default: all")


class V2Output(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[float] | None = Field(None, description="absent if bytes follow the JSON")


class V2Answer(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[V2Output]
