"""`/feedback`: corrections, which are images with their correct label."""

import asyncio
from typing import Annotated, Final

from fastapi import Query, Request, Response

from app.api import request_body
from app.api.dependencies import Limit, RequireTrain, ServicesDep, disconnect_probe
from app.api.error_responses import (
    ACCESS_ERRORS,
    BODY_ERRORS,
    INVALID_LIMIT,
    Responses,
    Router,
    error_responses,
    headers,
    invalid_field_example,
    new_resource,
)
from app.api.schemas.feedback import Correction, Corrections, Label
from app.errors import (
    BlankImage,
    Conflict,
    DeadlineExceeded,
    ImageTooLarge,
    NotAnImage,
    NotFound,
    NotReady,
    QueueFull,
)

router = Router(
    prefix="/feedback",
    tags=["feedback"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireTrain],
)

PNG: Final = "image/png"
NEW: Final = new_resource("correction_id", "get_feedback_image", "delete_feedback")
EXISTING: Final = {
    "description": "The image is stored already; with `replace`, it has the new label now",
    "model": Correction,
}
CREATE_RESPONSES: Final[Responses] = {201: NEW, 200: NEW | EXISTING}
IMAGE_RESPONSES: Final[Responses] = {
    200: {
        "content": {PNG: {"schema": request_body.FILE}},
        "headers": headers("Content-Disposition"),
    }
}
CREATE_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": request_body.form_with_file_content(Label),
    }
}
INVALID_LABEL: Final = invalid_field_example("label", "Input should be less than or equal to 9")
Replace = Annotated[bool, Query(description="replace the label if the image has a different one")]
After = Annotated[str | None, Query(description="id of the last correction of the previous page")]


@router.post(
    "",
    status_code=201,
    summary="Store a correction",
    operation_id="create_feedback",
    openapi_extra=CREATE_BODY,
    responses=CREATE_RESPONSES
    | error_responses(
        *(*BODY_ERRORS, Conflict, ImageTooLarge, NotAnImage, BlankImage),
        *(INVALID_LABEL, QueueFull, NotReady, DeadlineExceeded),
    ),
)
async def create(
    request: Request, response: Response, services: ServicesDep, replace: Replace = False
) -> Correction:
    """Each image is stored once. `POST /train` with `include_feedback` trains with corrections.
    Those that show no digit are for the recipe `robust`: the others learn digits alone.
    """
    upload, fields = await request_body.read_form_with_file(request, Label)
    pixels = await services.image_validator.decode(upload, disconnect_probe(request.scope))
    correction, is_new = await asyncio.to_thread(
        services.feedback.add, pixels, fields.label, fields.prediction_id or None, replace=replace
    )
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/feedback/{correction.id}/image"
    return Correction.model_validate(correction)


@router.get(
    "",
    summary="List corrections, newest first",
    operation_id="list_feedback",
    responses=error_responses(NotFound, INVALID_LIMIT),
)
def list_feedback(services: ServicesDep, after: After = None, limit: Limit = 100) -> Corrections:
    """Return one page. `after` is the id of the last correction of the previous page."""
    page, has_more = services.feedback.page(after, limit)
    data = [Correction.model_validate(correction) for correction in page]
    return Corrections(data=data, has_more=has_more)


@router.get(
    "/{correction_id}/image",
    summary="Get the image of a correction",
    operation_id="get_feedback_image",
    response_class=Response,
    responses=IMAGE_RESPONSES | error_responses(NotFound),
)
def get_image(correction_id: str, services: ServicesDep) -> Response:
    """Return the grey image as a PNG that the service encoded; the upload itself is not stored."""
    correction, content = services.feedback.content(correction_id)
    disposition = f'attachment; filename="{correction.written_label}-{correction.id}.png"'
    return Response(content, media_type=PNG, headers={"Content-Disposition": disposition})


@router.delete(
    "/{correction_id}",
    status_code=204,
    summary="Delete a correction",
    operation_id="delete_feedback",
    responses=error_responses(NotFound),
)
def delete(correction_id: str, services: ServicesDep) -> None:
    """Versions that were trained with the correction stay as they are."""
    services.feedback.delete(correction_id)
