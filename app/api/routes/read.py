"""`POST /read`: all digits of an image, line by line."""

import random
from typing import Any

from fastapi import Request

from app.api import request_body
from app.api.dependencies import RequirePredict, ServicesDep, add_log_fields, disconnect_probe
from app.api.error_responses import ACCESS_ERRORS, Router, error_responses, invalid_field_example
from app.api.routes.predict import (
    IMAGE_ERRORS,
    ONE_IMAGE,
    UPLOAD_ERRORS,
    VERSION_ERRORS,
    Version,
)
from app.api.schemas import predictions
from app.errors import TooManyDigits
from app.read.reading import Reading, text_of

router = Router(
    tags=["predict"], responses=error_responses(*ACCESS_ERRORS), dependencies=[RequirePredict]
)


@router.post(
    "/read",
    summary="Read all digits of an image",
    openapi_extra=ONE_IMAGE,
    responses=error_responses(
        *(*UPLOAD_ERRORS, *VERSION_ERRORS, *IMAGE_ERRORS, TooManyDigits),
        invalid_field_example("version", "Input should be greater than or equal to 1"),
    ),
)
async def read(
    request: Request, services: ServicesDep, version: Version = None
) -> predictions.Reading:
    """Lines go from top to bottom, digits from left to right. The body is as for `/predict`."""
    upload = await request_body.read_image(request)
    reading = await services.reader.read(upload, version, disconnect_probe(request.scope))
    add_log_fields(request, services, version=reading.version)
    return predictions.Reading.model_validate(reading_fields(reading))


def reading_fields(reading: Reading) -> dict[str, Any]:
    """Return the fields of a response."""
    return {
        "id": f"{random.getrandbits(64):016x}",
        "text": reading.text,
        "lines": [
            {"text": text_of(line), "digits": [digit._asdict() for digit in line]}
            for line in reading.lines
        ],
        "version": reading.version,
    }
