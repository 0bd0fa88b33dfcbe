"""`POST /predict`, `POST /predict/batch`, and `predict_all` for the other protocols."""

import random
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from app.api import request_body
from app.api.dependencies import (
    RequirePredict,
    Services,
    ServicesDep,
    add_log_fields,
    disconnect_probe,
)
from app.api.error_responses import ACCESS_ERRORS, error_responses, invalid_field_example
from app.api.schemas.resources import Normalisation, Prediction, Predictions
from app.errors import (
    BlankImage,
    BodyTooLarge,
    Conflict,
    DeadlineExceeded,
    ImageTooLarge,
    MalformedRequest,
    NotAnImage,
    NotFound,
    NotReady,
    QueueFull,
    ServiceError,
)
from app.image.png import to_data_url
from app.predict.batcher import PredictionResult
from app.predict.model import Answer
from app.predict.preprocess import PreprocessedImage
from app.telemetry import logs

router = APIRouter(
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
UPLOAD_ERRORS: Final = (MalformedRequest, BodyTooLarge, QueueFull, NotReady, DeadlineExceeded)
VERSION_ERRORS: Final = (NotFound, Conflict)
IMAGE_ERRORS: Final = (ImageTooLarge, NotAnImage, BlankImage)
Version = Annotated[
    int | None, Query(ge=1, description="version that answers; default: the live version")
]


@router.post(
    "/predict",
    summary="Read one handwritten digit",
    response_model_exclude_none=True,
    openapi_extra=ONE_IMAGE,
    responses=error_responses(
        *(*UPLOAD_ERRORS, *VERSION_ERRORS, *IMAGE_ERRORS),
        invalid_field_example("version", "Input should be greater than or equal to 1"),
    ),
)
async def predict(
    request: Request, services: ServicesDep, version: Version = None, explain: bool = False
) -> Prediction:
    """The body is the image, in one of three forms. `explain` adds the input of the network."""
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
    answer = {"predictions": [_element(result) for result in results], "version": model_version}
    # Encoded here: FastAPI would validate each of up to hundreds of elements again.
    return Response(to_json(answer), media_type="application/json")


def _element(result: PredictionResult | ServiceError) -> dict[str, Any]:
    if isinstance(result, ServiceError):
        return {"error": result.problem_details(logs.request_id.get())}
    return prediction_fields(result.answer)


def prediction_fields(answer: Answer) -> dict[str, Any]:
    """Return the fields of a `Prediction`."""
    return {
        "id": f"{random.getrandbits(64):016x}",
        "digit": answer.digit,
        "confidence": answer.probabilities[answer.digit],
        "probabilities": answer.probabilities,
        "is_digit": answer.is_digit,
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


async def predict_all(
    request: Request,
    services: Services,
    images: Sequence[bytes | PreprocessedImage],
    version: int | None = None,
) -> list[Answer]:
    """Return the answers for images, in order; by default of the live version.

    Raises the errors of `Predictor.predict_batch`, and the error of the first invalid image.
    """
    is_cancelled = disconnect_probe(request.scope)
    if len(images) == 1:  # this one joins a batch with concurrent requests
        answer = (
            await services.predictor.predict(images[0], version, is_cancelled=is_cancelled)
        ).answer
        add_log_fields(request, services, version=answer.version)
        return [answer]
    results, model_version = await services.predictor.predict_batch(
        images, version, is_cancelled=is_cancelled
    )
    add_log_fields(request, services, version=model_version)
    answers = []
    for number, result in enumerate(results):
        if isinstance(result, ServiceError):
            raise type(result)(f"Image {number}: {result.detail}")
        answers.append(result.answer)
    return answers
