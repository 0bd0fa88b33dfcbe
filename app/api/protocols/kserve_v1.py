"""KServe V1 protocol (TensorFlow Serving): takes `instances`, returns `predictions`."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api import request_body
from app.api.dependencies import RequirePredict, ServicesDep
from app.api.encoded_images import decode_base64
from app.api.error_responses import ACCESS_ERRORS, plain_error_responses
from app.api.protocols.pixels import numbers, shape_of, to_uint8
from app.api.protocols.tensors import MODEL
from app.api.query import CheckQuery
from app.api.routes.predict import IMAGE_ERRORS, UPLOAD_ERRORS, predict_all, prediction_json
from app.api.schemas.protocols import ModelReady, V1Instances, V1Models, V1Predictions
from app.errors import InvalidField, MalformedRequest, NotReady
from app.net import PIXELS, SIDE
from app.predict.preprocess import PreprocessedImage, from_mnist_pixels

SHAPES: Final = ([SIDE, SIDE], [PIXELS])
router = APIRouter(prefix="/v1", tags=["KServe V1"])


class Instances(BaseModel):
    """The request body; unknown fields are ignored."""

    instances: list[Any]


BODY: Final = request_body.json_request_body(V1Instances, required=True)


@router.get(
    "/models",
    summary="List the models",
    operation_id="v1_list_models",
    responses=plain_error_responses(),
    dependencies=[CheckQuery],
)
async def models() -> V1Models:
    """Return the name of the one model."""
    return V1Models(models=[MODEL])


@router.get(
    f"/models/{MODEL}",
    summary="Check whether the model is ready",
    operation_id="v1_get_model",
    responses=plain_error_responses(NotReady),
)
async def model(services: ServicesDep) -> ModelReady:
    """Return whether the service is ready, as `/health/ready` does."""
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
    """Each instance is base64, a `data:` URL, `{"b64": …}`, or pixels from 0 to 255 as in MNIST.

    If one instance is invalid, the whole request fails.
    """
    max_instances = services.settings.max_batch_files
    body = await request.body()
    instances = request_body.parse_or_400(Instances, body, max_instances).instances
    if not 1 <= len(instances) <= max_instances:
        raise MalformedRequest(
            f"The request has {len(instances)} instances. Send 1 to {max_instances}."
        )
    images = [_image(instance, f"instances.{number}") for number, instance in enumerate(instances)]
    answers = await predict_all(request, services, images)
    predictions = b",".join([prediction_json(answers, index) for index in range(len(answers))])
    return Response(b'{"predictions":[%b]}' % predictions, media_type="application/json")


def _image(instance: Any, name: str) -> bytes | PreprocessedImage:
    """Return an instance as image bytes or as pixels. Raises MalformedRequest, InvalidField."""
    if isinstance(instance, dict):
        instance = instance.get("b64")
    if isinstance(instance, str):
        return decode_base64(instance, name)
    if not isinstance(instance, list):
        raise MalformedRequest(
            f'{name} is neither base64, {{"b64": base64}}, nor rows of pixels. Send one of these.'
        )
    shape = shape_of(instance)
    if shape not in SHAPES:
        raise MalformedRequest(
            f"{name} has shape {shape!s:.60}. Send {SIDE} rows of {SIDE} numbers, or {PIXELS} "
            "numbers."
        )
    return from_mnist_pixels(to_uint8(numbers(instance).reshape(SIDE, SIDE), name), name)
