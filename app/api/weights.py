"""`POST /models` and `/models/{version}/weights`: weights as files, in and out.

What enters: a file, or a version's number and a form. What leaves: the card, or a file. This module
does not know how a file is read or made.
"""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response

from app.api import body
from app.api.refusals import GUARD, Responses, bad, documented, headers
from app.api.services import MayAdminister, MayTrain, ServicesDep
from app.errors import (
    BodyTooLarge,
    Busy,
    Conflict,
    MalformedRequest,
    NotFound,
    NotReady,
)
from app.versions import export
from app.versions.card import Card
from app.weights_import.parent import admit_upload

router = APIRouter(prefix="/models", tags=["models"], responses=documented(*GUARD, NotReady))

BINARY: Final = "application/octet-stream"
FILE: Final[Responses] = {
    200: {
        "content": {BINARY: {"schema": body.FILE}},
        "headers": headers("ETag", "Content-Disposition"),
    },
    304: {
        "description": "The file is the one that `If-None-Match` names",
        "headers": headers("ETag"),
    },
}
NUMBER: Final = {"version": "$response.body#/version"}
AFTERWARDS: Final = ("get_version", "get_version_weights", "get_version_errors", "delete_version")
MADE: Final[Responses] = {
    201: {
        "headers": headers("Location"),
        "links": {name: {"operationId": name, "parameters": NUMBER} for name in AFTERWARDS},
    }
}
NO_FORM: Final = bad("format", "Input should be 'safetensors', 'pt' or 'onnx'")
FOREIGN: Final = bad("file", "the weights are not those of MyNet")
UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {BINARY: {"schema": body.FILE}, **body.multipart("file")},
    }
}
Note = Annotated[str | None, Query(max_length=1000, description="kept on the version's card")]
Form = Annotated[
    export.Form, Query(alias="format", description="`pt` is a state dict, as `torch.save` writes")
]


@router.post(
    "",
    status_code=201,
    summary="Make a version of a file",
    operation_id="upload_version",
    openapi_extra=UPLOAD,
    responses=MADE | documented(MalformedRequest, BodyTooLarge, FOREIGN, Busy),
    dependencies=[MayAdminister],
)
async def upload(
    request: Request, response: Response, services: ServicesDep, note: Note = None
) -> Card:
    """The file, safetensors or a state dict, is checked and evaluated. It does not go live."""
    content = await body.read_file(request)
    version = await admit_upload(services.settings, content, note)
    response.headers["Location"] = f"/models/{version}"
    return await asyncio.to_thread(services.registry.card, version)


@router.get(
    "/{version:version}/weights",
    summary="Give the weights",
    operation_id="get_version_weights",
    response_class=Response,
    responses=FILE | documented(NotFound, Conflict, NO_FORM),
    dependencies=[MayTrain],
)
def get_weights(
    version: int,
    services: ServicesDep,
    form: Form = "safetensors",
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """`safetensors` holds the card, too. The ETag is the digest on the card, in quotes."""
    etag = f'"{services.registry.card(version).weights_digest}"'
    if _names(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    disposition = f'attachment; filename="mynet-{version}.{form}"'
    return Response(
        export.export(services.registry, version, form),
        media_type=BINARY,
        headers={"ETag": etag, "Content-Disposition": disposition},
    )


def _names(if_none_match: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return not tags.isdisjoint({etag, "*"})
