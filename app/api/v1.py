"""KServe's V1 protocol, which is TensorFlow Serving's: `instances` in, `predictions` out.

What enters: instances, each an encoded image or pixels. What leaves: predictions. This module does
not know how images are read.
"""

from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from app.api import body, health, problems
from app.api.many import answer_all
from app.api.outputs import MODEL
from app.api.pixels import numbers, tones
from app.api.predict import fields
from app.api.services import MayPredict, ServicesDep
from app.errors import MalformedRequest
from app.net import PIXELS, SIDE
from app.predict.seen import Seen, as_seen

SHAPES: Final = ((SIDE, SIDE), (PIXELS,))
router = APIRouter(prefix="/v1", tags=["KServe V1"], responses=problems.DOCUMENTED_FOREIGN)


class Instances(BaseModel):
    """The body; other fields are passed over."""

    instances: list[Any]


BODY: Final = body.documented(Instances, required=True)


@router.get("/models", summary="List the models")
async def models() -> dict[str, list[str]]:
    """There is one."""
    return {"models": [MODEL]}


@router.get(f"/models/{MODEL}", summary="Say whether the model answers")
async def model(services: ServicesDep) -> dict[str, Any]:
    """As `/health/ready`."""
    await health.ready(services)
    return {"name": MODEL, "ready": True}


@router.post(
    f"/models/{MODEL}:predict",
    summary="Read digits",
    openapi_extra=BODY,
    dependencies=[MayPredict],
)
async def predict(request: Request, services: ServicesDep) -> Response:
    """An instance is base64, a `data:` URL, `{"b64": …}`, or pixels from 0 to 255 in MNIST's form.

    All are answered, or none.
    """
    sent = body.parse_or_400(Instances, await request.body()).instances
    most = services.settings.max_batch_files
    if not 1 <= len(sent) <= most:
        raise MalformedRequest(f"{len(sent)} instances were sent; 1 to {most} may be.")
    images = [_image(each, f"instances.{number}") for number, each in enumerate(sent)]
    answers = await answer_all(request, services, images)
    predictions = [fields(answer) for answer in answers]
    return Response(to_json({"predictions": predictions}), media_type="application/json")


def _image(instance: Any, name: str) -> bytes | Seen:
    """Read one instance. Raises MalformedRequest, InvalidField."""
    if isinstance(instance, dict):
        instance = instance.get("b64")
    if isinstance(instance, str):
        return body.decode_base64(instance, name)
    if not isinstance(instance, list):
        raise MalformedRequest(f'{name} must be base64, {{"b64": base64}}, or rows of pixels.')
    pixels = numbers(instance)
    if pixels.shape not in SHAPES:
        raise MalformedRequest(
            f"{name} has shape {list(pixels.shape)}, and may have {SIDE} rows of {SIDE} pixels, "
            f"or {PIXELS} pixels."
        )
    return as_seen(tones(np.reshape(pixels, (SIDE, SIDE))))
