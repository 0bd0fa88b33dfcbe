"""`/models/{version}/weights`: a version's weights as a file.

What enters: a version's number and a form. What leaves: the file. This module does not know how a
form is made.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response

from app import export
from app.api import problems
from app.api.services import MayChange, ServicesDep

router = APIRouter(
    prefix="/models", tags=["models"], responses=problems.DOCUMENTED, dependencies=[MayChange]
)

BINARY: Final = "application/octet-stream"
FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "The file is the one that `If-None-Match` names"},
}
Form = Annotated[
    export.Form, Query(alias="format", description="`pt` is a state dict, as `torch.save` writes")
]


@router.head("/{version}/weights", include_in_schema=False)
@router.get(
    "/{version}/weights", summary="Give the weights", response_class=Response, responses=FILE
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
