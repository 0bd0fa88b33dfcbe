"""KServe's V1 protocol, which is TensorFlow Serving's: `instances` in, `predictions` out.

What enters: instances, each an encoded image or pixels. What leaves: predictions. This module does
not know how images are read.
"""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from app.api import request_body
from app.api.dependencies import RequirePredict, ServicesDep
from app.api.error_responses import ACCESS_ERRORS, plain_error_responses
from app.api.protocols.pixels import numbers, shape_of, to_uint8
from app.api.protocols.tensors import MODEL
from app.api.routes.predict import IMAGE_ERRORS, UPLOAD_ERRORS, predict_all, prediction_fields
from app.api.schemas.protocols import ModelReady, V1Instances, V1Models, V1Predictions
from app.errors import InvalidField, MalformedRequest, NotReady
from app.net import PIXELS, SIDE
from app.predict.preprocess import PreprocessedImage, from_mnist_pixels

SHAPES: Final = ([SIDE, SIDE], [PIXELS])
router = APIRouter(prefix="/v1", tags=["KServe V1"])


class Instances(BaseModel):
    """The body; other fields are passed over."""

    instances: list[Any]


BODY: Final = request_body.json_request_body(V1Instances, required=True)


@router.get(
    "/models",
    summary="List the models",
    operation_id="v1_list_models",
    responses=plain_error_responses(),
)
async def models() -> V1Models:
    """There is one."""
    return V1Models(models=[MODEL])


@router.get(
    f"/models/{MODEL}",
    summary="Say whether the model answers",
    operation_id="v1_get_model",
    responses=plain_error_responses(NotReady),
)
async def model(services: ServicesDep) -> ModelReady:
    """As `/health/ready`."""
    services.check_ready()
    return ModelReady(name=MODEL, ready=True)


@router.post(
    f"/models/{MODEL}:predict",
    summary="Read digits",
    operation_id="v1_predict",
    openapi_extra=BODY,
    response_model=V1Predictions,
    responses=plain_error_responses(*ACCESS_ERRORS, *UPLOAD_ERRORS, *IMAGE_ERRORS, InvalidField),
    dependencies=[RequirePredict],
)
async def predict(request: Request, services: ServicesDep) -> Response:
    """An instance is base64, a `data:` URL, `{"b64": …}`, or pixels from 0 to 255 in MNIST's form.

    All are answered, or none.
    """
    instances = request_body.parse_or_400(Instances, await request.body()).instances
    max_instances = services.settings.max_batch_files
    if not 1 <= len(instances) <= max_instances:
        raise MalformedRequest(
            f"{len(instances)} instances were sent; 1 to {max_instances} may be."
        )
    images = [_image(instance, f"instances.{number}") for number, instance in enumerate(instances)]
    answers = await predict_all(request, services, images)
    predictions = [prediction_fields(answer) for answer in answers]
    return Response(to_json({"predictions": predictions}), media_type="application/json")


def _image(instance: Any, name: str) -> bytes | PreprocessedImage:
    """Read one instance. Raises MalformedRequest, InvalidField."""
    if isinstance(instance, dict):
        instance = instance.get("b64")
    if isinstance(instance, str):
        return request_body.decode_base64(instance, name)
    if not isinstance(instance, list):
        raise MalformedRequest(f'{name} must be base64, {{"b64": base64}}, or rows of pixels.')
    shape = shape_of(instance)
    if shape not in SHAPES:
        raise MalformedRequest(
            f"{name} has shape {shape!s:.60}, and may have {SIDE} rows of {SIDE} numbers, or "
            f"{PIXELS} numbers."
        )
    return from_mnist_pixels(to_uint8(numbers(instance).reshape(SIDE, SIDE)))
