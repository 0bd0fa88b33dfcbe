"""`/models`: cards, promotion, rollback, weights, and misclassified test images."""

import asyncio
from typing import Annotated, Final

from fastapi import Header, Query, Request, Response

from app.api import request_body
from app.api.dependencies import (
    Limit,
    RequireAdmin,
    RequireTrain,
    ServicesDep,
    etag_matches,
)
from app.api.error_responses import (
    ACCESS_ERRORS,
    BODY_ERRORS,
    Responses,
    Router,
    error_responses,
    headers,
    invalid_field_example,
    new_resource,
)
from app.api.schemas.resources import Promotion, TestImage, TestImages, Versions, VersionSummary
from app.errors import (
    Conflict,
    NotFound,
    NotReady,
    QueueFull,
)
from app.image.png import to_data_url
from app.predict.test_set_errors import LabelledPrediction
from app.versions import export
from app.versions.card import Card
from app.weights_import.parent import import_upload

router = Router(
    prefix="/models", tags=["models"], responses=error_responses(*ACCESS_ERRORS, NotReady)
)

INVALID_VERSION: Final = invalid_field_example(
    "version", "Input should be greater than or equal to 1"
)
Full = Annotated[bool, Query(description="return the whole cards")]
PROMOTION: Final = request_body.json_request_body(Promotion, required=True)


@router.get(
    "",
    summary="List versions, oldest first",
    response_model=Versions,
    responses=error_responses(invalid_field_example("full", "Input should be a valid boolean")),
    dependencies=[RequireTrain],
)
def list_versions(services: ServicesDep, full: Full = False) -> Versions:
    """Return all versions, and the live and the previously live one. `full` returns whole cards."""
    return to_versions(*services.registry.cards_and_history(), full=full)


@router.put(
    "/current",
    summary="Promote a version",
    operation_id="promote_version",
    openapi_extra=PROMOTION,
    responses=error_responses(
        *(*BODY_ERRORS, NotFound, Conflict),
        INVALID_VERSION,
    ),
    dependencies=[RequireAdmin],
)
async def promote(request: Request, services: ServicesDep) -> Card:
    """The version is live in this process immediately, and in all others within two seconds."""
    promotion = await request_body.read_json(request, Promotion)
    return await asyncio.to_thread(services.live.promote, promotion.version)


@router.post(
    "/rollback",
    summary="Roll back to the previous live version",
    responses=error_responses(Conflict, NotFound),
    dependencies=[RequireAdmin],
)
def rollback(services: ServicesDep) -> Card:
    """Each call goes back one more step."""
    return services.live.rollback()


@router.get(
    "/{version:version}",
    summary="Get the card of a version",
    responses=error_responses(NotFound, Conflict),
    dependencies=[RequireTrain],
)
def get_version(version: int, services: ServicesDep) -> Card:
    """Return its metrics on the test images, and everything needed to reproduce it."""
    return services.registry.card(version)


@router.delete(
    "/{version:version}",
    status_code=204,
    summary="Delete a version",
    operation_id="delete_version",
    responses=error_responses(NotFound, Conflict),
    dependencies=[RequireAdmin],
)
def delete(version: int, services: ServicesDep) -> None:
    """Its number is never reused. The live version cannot be deleted: promote another one first."""
    services.registry.delete(version)


BINARY: Final = "application/octet-stream"
FILE_RESPONSES: Final[Responses] = {
    200: {
        "content": {BINARY: {"schema": request_body.FILE}},
        "headers": headers("ETag", "Content-Disposition"),
    },
    304: {
        "description": "The weights have not changed: `If-None-Match` has their digest",
        "headers": headers("ETag"),
    },
}
LINKED_OPERATIONS: Final = (
    "get_version",
    "get_version_weights",
    "get_version_errors",
    "delete_version",
)
UPLOAD_RESPONSES: Final[Responses] = {
    201: new_resource("version", *LINKED_OPERATIONS, field="version"),
}
INVALID_FORMAT: Final = invalid_field_example(
    "format", "Input should be 'safetensors', 'pt' or 'onnx'"
)
INCOMPATIBLE_WEIGHTS: Final = invalid_field_example("file", "the weights do not fit MyNet")
UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {
            BINARY: {"schema": request_body.FILE},
            **request_body.multipart_content("file"),
        },
    }
}
Note = Annotated[str | None, Query(max_length=1000, description="stored on the version's card")]
Form = Annotated[
    export.Form, Query(alias="format", description="`pt` is a state dict as `torch.save` writes it")
]


@router.post(
    "",
    status_code=201,
    summary="Upload weights as a new version",
    operation_id="upload_version",
    openapi_extra=UPLOAD,
    responses=UPLOAD_RESPONSES | error_responses(*BODY_ERRORS, INCOMPATIBLE_WEIGHTS, QueueFull),
    dependencies=[RequireAdmin],
)
async def upload(
    request: Request, response: Response, services: ServicesDep, note: Note = None
) -> Card:
    """The safetensors file or state dict is checked and evaluated. It does not go live."""
    content = await request_body.read_file(request)
    card = await import_upload(services.settings, services.registry, content, note)
    response.headers["Location"] = f"/models/{card.version}"
    return card


@router.get(
    "/{version:version}/weights",
    summary="Download the weights of a version",
    operation_id="get_version_weights",
    response_class=Response,
    responses=FILE_RESPONSES | error_responses(NotFound, Conflict, INVALID_FORMAT),
    dependencies=[RequireTrain],
)
def get_weights(
    version: int,
    services: ServicesDep,
    form: Form = "safetensors",
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """`safetensors` includes the card. The ETag is the weights digest of the card, in quotes."""
    etag = f'"{services.registry.card(version).weights_digest}"'
    if etag_matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    disposition = f'attachment; filename="mynet-{version}.{form}"'
    return Response(
        export.export(services.registry, version, form),
        media_type=BINARY,
        headers={"ETag": etag, "Content-Disposition": disposition},
    )


def to_versions(cards: list[Card], history: list[int], *, full: bool = False) -> Versions:
    """Return the list of versions, in short or, with `full`, as cards.

    `history` holds the live and the previously live versions, newest first.
    """
    current, previous = (*history[:2], None, None)[:2]
    data = cards if full else [VersionSummary.model_validate(card) for card in cards]
    return Versions(data=data, current=current, previous=previous)


BEFORE_FIRST: Final = -1
INVALID_DIGIT: Final = invalid_field_example("digit", "Input should be less than or equal to 9")
Label = Annotated[int | None, Query(ge=0, le=9, description="the digit in the image")]
Answer = Annotated[int | None, Query(ge=0, le=9, description="the predicted digit; default: any")]
After = Annotated[
    int | None, Query(ge=0, description="index of the last image of the previous page")
]


@router.get(
    "/{version:version}/errors",
    summary="List misclassified test images of a version",
    operation_id="get_version_errors",
    responses=error_responses(NotFound, Conflict, INVALID_DIGIT),
    dependencies=[RequireTrain],
)
def get_errors(
    version: int,
    services: ServicesDep,
    digit: Label = None,
    answer: Answer = None,
    after: After = None,
    limit: Limit = 100,
) -> TestImages:
    """`digit` and `answer` select a cell of the confusion matrix, also one on its diagonal. The
    images are those of the `test_dataset`; if that was deleted, the request fails with 409.
    """
    cursor = BEFORE_FIRST if after is None else after
    page, has_more = services.test_set_errors.page(
        version, digit, answer, after=cursor, limit=limit
    )
    return TestImages(data=[_to_test_image(prediction) for prediction in page], has_more=has_more)


def _to_test_image(prediction: LabelledPrediction) -> TestImage:
    return TestImage(
        index=prediction.index,
        digit=prediction.digit,
        answer=prediction.answer,
        confidence=prediction.confidence,
        image=to_data_url(prediction.pixels),
    )
