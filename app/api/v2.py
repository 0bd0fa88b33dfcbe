"""The Open Inference Protocol, version 2, over REST: what KServe, Triton and their clients speak.

What enters: tensors. What leaves: tensors. This module does not know how they are written down.
"""

import asyncio
from importlib.metadata import version as version_of
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from app.api import health, outputs, problems, tensors
from app.api.many import answer_all
from app.api.outputs import MODEL, OUTPUTS
from app.api.services import MayPredict, ServicesDep
from app.errors import NotFound
from app.net import SIDE
from app.predict.seen import as_seen

LONGEST: Final = 9  # digits of a version
INFERENCE: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {"inputs": {"type": "array", "items": {"type": "object"}}},
                }
            }
        },
    }
}
router = APIRouter(
    prefix="/v2", tags=["Open Inference Protocol"], responses=problems.DOCUMENTED_FOREIGN
)


@router.get("", summary="Say what this server is", dependencies=[MayPredict])
async def server() -> dict[str, Any]:
    """Its name, version, and the extensions of the protocol that it knows."""
    return {"name": MODEL, "version": version_of(MODEL), "extensions": ["binary_tensor_data"]}


@router.get("/health/live", summary="Say that the process turns")
async def live() -> dict[str, bool]:
    """With a body, which some clients expect."""
    return {"live": True}


@router.get("/health/ready", summary="Say whether to send requests here")
async def ready(services: ServicesDep) -> dict[str, bool]:
    """As `/health/ready`."""
    await health.ready(services)
    return {"ready": True}


@router.get(f"/models/{MODEL}", summary="Describe the model's tensors", dependencies=[MayPredict])
@router.get(
    f"/models/{MODEL}/versions/{{version}}",
    summary="Describe a version's tensors",
    dependencies=[MayPredict],
)
def metadata(services: ServicesDep, version: str | None = None) -> dict[str, Any]:
    """`image` may also be FP32 from 0 to 1, rows of 784, or BYTES: encoded images, shape [-1]."""
    services.live.of(_number(version))
    images = {"name": tensors.NAME, "datatype": "UINT8", "shape": [-1, SIDE, SIDE]}
    return {
        "name": MODEL,
        "versions": [str(number) for number in services.registry.versions()],
        "platform": "pytorch_safetensors",
        "inputs": [images],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": shape}
            for name, (datatype, _, shape) in OUTPUTS.items()
        ],
    }


@router.get(f"/models/{MODEL}/ready", summary="Say whether the model answers")
@router.get(f"/models/{MODEL}/versions/{{version}}/ready", summary="Say whether a version answers")
async def model_ready(services: ServicesDep, version: str | None = None) -> dict[str, Any]:
    """As `/health/ready`; a version is ready where it is there."""
    await health.ready(services)
    await asyncio.to_thread(services.live.of, _number(version))
    return {"name": MODEL, "ready": True}


@router.post(
    f"/models/{MODEL}/infer",
    summary="Read digits",
    openapi_extra=INFERENCE,
    dependencies=[MayPredict],
)
@router.post(
    f"/models/{MODEL}/versions/{{version}}/infer",
    summary="Read digits with a version",
    openapi_extra=INFERENCE,
    dependencies=[MayPredict],
)
async def infer(request: Request, services: ServicesDep, version: str | None = None) -> Response:
    """The Content-Type is not asked for: clients send none. All images are answered, or none."""
    header = request.headers.get(tensors.HEADER)
    inference, binary = tensors.read(await request.body(), header)
    images = tensors.images(inference, binary, services.settings.max_batch_files)
    wanted = outputs.wishes(inference)
    sent = images if isinstance(images, list) else [as_seen(pixels) for pixels in images]
    answers = await answer_all(request, services, sent, _number(version))
    content, length = outputs.write(inference, wanted, answers)
    if length is None:
        return Response(content, media_type="application/json")
    headers = {tensors.HEADER: str(length)}
    return Response(content, headers=headers, media_type="application/octet-stream")


def _number(version: str | None) -> int | None:
    if version is None:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= LONGEST):
        raise NotFound("There is no such version; versions are numbers.")
    return int(version)
