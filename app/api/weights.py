"""`POST /models` and `/models/{version}/weights`: weights as files, in and out.

What enters: a file, or a version's number and a form. What leaves: the card, or a file. This module
does not know how a file is read or made.
"""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from app import export
from app.api import body, problems
from app.api.services import MayAdminister, MayTrain, ServicesDep
from app.card import Card
from app.train.admit import admit_upload

router = APIRouter(prefix="/models", tags=["models"], responses=problems.DOCUMENTED)

BINARY: Final = "application/octet-stream"
FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {BINARY: {"schema": body.FILE}}},
    304: {"description": "The file is the one that `If-None-Match` names"},
}
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
    openapi_extra=UPLOAD,
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


@router.head("/{version}/weights", include_in_schema=False, dependencies=[MayTrain])
@router.get(
    "/{version}/weights",
    summary="Give the weights",
    response_class=Response,
    responses=FILE,
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
