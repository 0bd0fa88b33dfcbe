"""Open Inference Protocol, version 2, over REST: the protocol of KServe, Triton and their clients.

`tensors` encodes and decodes the tensors.
"""

import asyncio
from importlib.metadata import version as version_of
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Header, Path, Request, Response

from app.api import request_body
from app.api.dependencies import RequirePredict, Services, ServicesDep
from app.api.error_responses import ACCESS_ERRORS, Responses, headers, plain_error_responses
from app.api.protocols import tensors
from app.api.protocols.tensors import MODEL, OUTPUTS
from app.api.query import CheckQuery
from app.api.routes.predict import IMAGE_ERRORS, UPLOAD_ERRORS, VERSION_ERRORS, predict_all
from app.api.schemas.protocols import (
    ModelReady,
    V2Answer,
    V2Described,
    V2Inference,
    V2Live,
    V2Model,
    V2Ready,
    V2Server,
)
from app.errors import Conflict, InvalidField, NotFound, NotReady
from app.net import SIDE
from app.predict.preprocess import check_pixels

MAX_VERSION_DIGITS: Final = 9  # digits of a version
PATH: Final = f"/models/{MODEL}"
VERSION_PATH: Final = f"{PATH}/versions/{{version}}"
Version = Annotated[str, Path(description="version number")]
Length = Annotated[
    str | None,
    Header(
        alias=tensors.HEADER,
        description="length of the JSON if binary tensors follow it",
        json_schema_extra={"pattern": "^[0-9]{1,9}$"},
    ),
]
BINARY: Final = "application/octet-stream"
MIXED_BODY: Final = {"type": "string", "format": "binary", "description": "JSON, then the tensors"}
INFERENCE: Final = {
    "requestBody": {
        "required": True,
        "content": {**request_body.json_content(V2Inference), BINARY: {"schema": MIXED_BODY}},
    }
}
INFERENCE_RESPONSES: Final[Responses] = {
    200: {
        "content": {BINARY: {"schema": MIXED_BODY}},
        "headers": headers(tensors.HEADER),
    }
}
INFERENCE_ERRORS: Final = (*ACCESS_ERRORS, *UPLOAD_ERRORS, *IMAGE_ERRORS, InvalidField)
router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])


@router.get(
    "",
    summary="Get server metadata",
    operation_id="v2_get_server",
    responses=plain_error_responses(*ACCESS_ERRORS),
    dependencies=[RequirePredict, CheckQuery],
)
async def server() -> V2Server:
    """Return the server's name, its version, and the protocol extensions that it supports."""
    return V2Server(name=MODEL, version=version_of(MODEL), extensions=["binary_tensor_data"])


@router.get(
    "/health/live",
    summary="Check liveness",
    operation_id="v2_get_live",
    responses=plain_error_responses(),
    dependencies=[CheckQuery],
)
async def live() -> V2Live:
    """Return a body, because some clients expect one."""
    return V2Live(live=True)


@router.get(
    "/health/ready",
    summary="Check readiness",
    operation_id="v2_get_ready",
    responses=plain_error_responses(NotReady),
)
async def ready(services: ServicesDep) -> V2Ready:
    """Return whether the service is ready, as `/health/ready` does."""
    services.check_ready()
    return V2Ready(ready=True)


@router.get(
    PATH,
    summary="Get model metadata",
    operation_id="v2_get_model",
    responses=plain_error_responses(*ACCESS_ERRORS),
    dependencies=[RequirePredict],
)
def model(services: ServicesDep) -> V2Model:
    """`image` may also be FP32 from 0 to 1, rows of 784, or BYTES: encoded images, shape [-1]."""
    images = V2Described(name=tensors.NAME, datatype="UINT8", shape=[-1, SIDE, SIDE])
    return V2Model(
        name=MODEL,
        versions=[str(number) for number in services.registry.versions()],
        platform="pytorch_safetensors",
        inputs=[images],
        outputs=[
            V2Described(name=name, datatype=datatype, shape=shape)
            for name, (datatype, _, shape) in OUTPUTS.items()
        ],
    )


@router.get(
    VERSION_PATH,
    summary="Get the metadata of a version",
    operation_id="v2_get_version",
    responses=plain_error_responses(*ACCESS_ERRORS, NotFound, Conflict, NotReady),
    dependencies=[RequirePredict],
)
def model_version(services: ServicesDep, version: Version) -> V2Model:
    """Return the same metadata for every version."""
    services.live.get(_number(version))
    return model(services)


@router.get(
    f"{PATH}/ready",
    summary="Check whether the model is ready",
    operation_id="v2_get_model_ready",
    responses=plain_error_responses(NotReady),
)
async def model_ready(services: ServicesDep) -> ModelReady:
    """Return whether the service is ready, as `/health/ready` does."""
    services.check_ready()
    return ModelReady(name=MODEL, ready=True)


@router.get(
    f"{VERSION_PATH}/ready",
    summary="Check whether a version is ready",
    operation_id="v2_get_version_ready",
    responses=plain_error_responses(NotFound, NotReady),
)
async def version_ready(services: ServicesDep, version: Version) -> ModelReady:
    """Return whether the version exists: the first prediction loads an existing one.

    The route needs no key, so it loads nothing, and a `404` does not list other versions.
    """
    number = _number(version)
    if not await asyncio.to_thread(services.registry.exists, number):
        raise _no_such_version(version)
    return await model_ready(services)


@router.post(
    f"{PATH}/infer",
    summary="Read digits",
    operation_id="v2_infer",
    openapi_extra=INFERENCE,
    response_model=V2Answer,
    responses=INFERENCE_RESPONSES | plain_error_responses(*INFERENCE_ERRORS),
    dependencies=[RequirePredict],
)
async def infer(request: Request, services: ServicesDep, length: Length = None) -> Response:
    """Any Content-Type is accepted: clients send none. If one image is invalid, all fail."""
    return await _infer(request, services, length, None)


@router.post(
    f"{VERSION_PATH}/infer",
    summary="Read digits with a given version",
    operation_id="v2_infer_version",
    openapi_extra=INFERENCE,
    response_model=V2Answer,
    responses=INFERENCE_RESPONSES | plain_error_responses(*INFERENCE_ERRORS, *VERSION_ERRORS),
    dependencies=[RequirePredict],
)
async def infer_version(
    request: Request, services: ServicesDep, version: Version, length: Length = None
) -> Response:
    """Accept the same body as without a version."""
    return await _infer(request, services, length, _number(version))


async def _infer(
    request: Request, services: Services, header: str | None, version: int | None
) -> Response:
    max_images = services.settings.max_batch_files
    inference, binary = tensors.read(await request.body(), header, max_images)
    images = tensors.images(inference, binary, max_images)
    output_as_bytes = tensors.requested_outputs(inference)
    if isinstance(images, np.ndarray):
        check_pixels(images)
    answers = await predict_all(request, services, images, version)
    content, length = tensors.encode_response(inference, output_as_bytes, answers)
    if length is None:
        return Response(content, media_type="application/json")
    return Response(content, 200, {tensors.HEADER: str(length)}, BINARY)


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) <= MAX_VERSION_DIGITS):
        raise _no_such_version(version)
    return int(version)


def _no_such_version(version: str) -> NotFound:
    return NotFound(
        f"Version {version!r:.40} does not exist: versions are numbers. "
        "GET /v2/models/mynet lists them."
    )
