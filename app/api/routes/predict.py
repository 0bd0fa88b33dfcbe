"""`POST /predict`, `POST /predict/batch`, and `predict_all` for the other protocols."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import numpy as np
from fastapi import Query, Request, Response
from numpy.typing import NDArray
from pydantic_core import to_json

from app.api import request_body
from app.api.dependencies import (
    RequirePredict,
    Services,
    ServicesDep,
    add_log_fields,
    disconnect_probe,
)
from app.api.error_responses import (
    ACCESS_ERRORS,
    BODY_ERRORS,
    Router,
    error_responses,
    invalid_field_example,
)
from app.api.schemas.predictions import LayerActivations, Normalisation, Prediction, Predictions
from app.errors import (
    BlankImage,
    Conflict,
    DeadlineExceeded,
    ImageTooLarge,
    NotAnImage,
    NotFound,
    NotReady,
    QueueFull,
    ServiceError,
)
from app.image.png import to_data_url
from app.net import LAYERS
from app.predict.answers import Answer, BatchAnswers
from app.predict.batcher import PredictionResult
from app.predict.predictor import Predictor
from app.predict.preprocess import PreprocessedImage, from_mnist_pixels
from app.telemetry import logs

router = Router(
    tags=["predict"], responses=error_responses(*ACCESS_ERRORS), dependencies=[RequirePredict]
)

ONE_IMAGE: Final = {
    "requestBody": {
        "required": True,
        "content": {
            **request_body.multipart_content("file"),
            **request_body.json_content(request_body.ImageBody),
            "image/*": {"schema": request_body.FILE},
            "application/octet-stream": {"schema": request_body.FILE},
        },
    }
}
MANY_IMAGES: Final = {
    "requestBody": {
        "required": True,
        "content": request_body.multipart_content(
            "files", {"type": "array", "items": request_body.FILE, "minItems": 1}
        ),
    }
}
UPLOAD_ERRORS: Final = (*BODY_ERRORS, QueueFull, NotReady, DeadlineExceeded)
VERSION_ERRORS: Final = (NotFound, Conflict)
IMAGE_ERRORS: Final = (ImageTooLarge, NotAnImage, BlankImage)
Version = Annotated[
    int | None, Query(ge=1, description="version that answers; default: the live version")
]


@router.post(
    "/predict",
    summary="Read one handwritten digit",
    response_model_exclude_unset=True,
    openapi_extra=ONE_IMAGE,
    responses=error_responses(
        *(*UPLOAD_ERRORS, *VERSION_ERRORS, *IMAGE_ERRORS),
        invalid_field_example("version", "Input should be greater than or equal to 1"),
    ),
)
async def predict(
    request: Request, services: ServicesDep, version: Version = None, explain: bool = False
) -> Prediction:
    """The body is the image, in one of three forms. `explain` adds the input of the network,
    and its activations."""
    return await predict_one(request, services, version, explain=explain)


async def predict_one(
    request: Request, services: Services, version: int | None = None, *, explain: bool = False
) -> Prediction:
    """Return the prediction for the image in a request's body; by default of the live version."""
    upload = await request_body.read_image(request)
    started = time.perf_counter()
    result = await services.predictor.predict(
        upload, version, explain=explain, is_cancelled=disconnect_probe(request.scope)
    )
    add_log_fields(request, services, version=result.answer.version)
    if services.tracing:
        services.tracing.record_stages(result.stages(started))
    answer = Prediction(**prediction_fields(result.answer))
    if result.saliency is not None:
        answer.seen = to_data_url(result.preprocessed.normalised.pixels)  # plain-words: ok
        answer.saliency = to_data_url(result.saliency)
        answer.normalisation = _normalisation(result.preprocessed)
        answer.activations = list(map(_layer_activations, LAYERS, result.activations or []))
    return answer


@router.post(
    "/predict/batch",
    summary="Read many digits with one version",
    response_model=Predictions,
    openapi_extra=MANY_IMAGES,
    responses=error_responses(
        *(*UPLOAD_ERRORS, *VERSION_ERRORS),
        invalid_field_example("files", "is missing; the fields sent are: file"),
    ),
)
async def predict_batch(
    request: Request, services: ServicesDep, version: Version = None
) -> Response:
    """Each element is a prediction or an error. An invalid image does not affect the others."""
    uploads = await request_body.read_images(request, services.settings.max_batch_files)
    results, model_version = await services.predictor.predict_batch(
        uploads, version, is_cancelled=disconnect_probe(request.scope)
    )
    add_log_fields(request, services, version=model_version)
    # Encoded here: FastAPI would validate each of up to hundreds of elements again.
    content = b'{"predictions":[%b],"version":%d}' % (
        b",".join([_element(result) for result in results]),
        model_version,
    )
    return Response(content, media_type="application/json")


def _element(result: PredictionResult | ServiceError) -> bytes:
    if isinstance(result, ServiceError):
        return to_json({"error": result.problem_details(logs.request_id.get())})
    return prediction_json(result.batch, result.row)


def prediction_json(answers: BatchAnswers, index: int) -> bytes:
    """Return what `to_json` gives for the `prediction_fields` of an answer, in less time."""
    return b'{"id":"%016x",%b}' % (random.getrandbits(64), answers.json_fields[index])


def prediction_fields(answer: Answer) -> dict[str, Any]:
    """Return the fields of a `Prediction`."""
    probabilities = answer.rounded_probabilities()
    return {
        "id": f"{random.getrandbits(64):016x}",
        "digit": answer.digit,
        "confidence": probabilities[answer.digit],
        "probabilities": probabilities,
        "is_digit": answer.is_digit,
        "reason": answer.reason,
        "count": answer.digit_count,
        "version": answer.version,
    }


def _normalisation(preprocessed: PreprocessedImage) -> Normalisation:
    left, top, right, bottom = (
        round(edge * preprocessed.scale) for edge in preprocessed.normalised.box
    )
    return Normalisation(
        inverted=preprocessed.normalised.inverted,
        box=(left, top, right, bottom),
        shift=preprocessed.normalised.shift,
    )


def _layer_activations(layer: str, activations: NDArray[np.float32]) -> LayerActivations:
    """Return the activations of a layer as bytes; all are 0 if no unit is active."""
    maximum = float(activations.max())
    values: list[int] = np.rint(activations * (255 / (maximum or 1))).astype(int).tolist()
    return LayerActivations(layer=layer, maximum=round(maximum, 6), values=values)


async def predict_all(
    request: Request,
    services: Services,
    images: Sequence[bytes | PreprocessedImage] | NDArray[np.uint8],
    version: int | None = None,
) -> BatchAnswers:
    """Return the answers for images, or for (B, 28, 28) pixels in MNIST's form, in order.

    The live version answers by default. Raises the errors of `Predictor.predict_batch`, and the
    error of the first invalid image.
    """
    predictor, is_cancelled = services.predictor, disconnect_probe(request.scope)
    if len(images) == 1:  # this one joins a batch with concurrent requests
        (image,) = images
        upload = from_mnist_pixels(image, "Image 0") if isinstance(image, np.ndarray) else image
        result = await predictor.predict(upload, version, is_cancelled=is_cancelled)
        answers = result.batch.select([result.row])
    elif isinstance(images, np.ndarray):
        answers = await predictor.predict_pixels(images, version, is_cancelled=is_cancelled)
    else:
        answers = await _predict_uploads(predictor, images, version, is_cancelled)
    add_log_fields(request, services, version=answers.version)
    return answers


async def _predict_uploads(
    predictor: Predictor,
    uploads: Sequence[bytes | PreprocessedImage],
    version: int | None,
    is_cancelled: Callable[[], bool],
) -> BatchAnswers:
    results, model_version = await predictor.predict_batch(
        uploads, version, is_cancelled=is_cancelled
    )
    predictions = []
    for number, result in enumerate(results):
        if isinstance(result, ServiceError):
            raise type(result)(f"Image {number}: {result.detail}")
        predictions.append(result)
    return predictions[0].batch if predictions else BatchAnswers.none(model_version)
