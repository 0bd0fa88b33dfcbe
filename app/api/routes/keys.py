"""`/keys`: API keys, for admins. The secret of a key is in the answer that creates it, and nowhere
else.
"""

import asyncio
from typing import Final

from fastapi import Request, Response

from app.api import request_body
from app.api.dependencies import RequireAdmin, Services, ServicesDep, add_log_fields
from app.api.error_responses import (
    ACCESS_ERRORS,
    BODY_ERRORS,
    Responses,
    Router,
    error_responses,
    invalid_field_example,
    new_resource,
)
from app.api.schemas.keys import ApiKey, ApiKeys, NewApiKey, NewKey, Rotation
from app.auth.keys import KeyStore
from app.database.tables import Key
from app.errors import Conflict, NotFound, NotReady

router = Router(
    prefix="/keys",
    tags=["keys"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireAdmin],
)
CREATED: Final[Responses] = {201: new_resource("key_id", "revoke_key", "rotate_key")}
INVALID_NAME: Final = invalid_field_example("name", "String should have at most 64 characters")


@router.get("", summary="List API keys, oldest first", operation_id="list_keys")
def list_keys(services: ServicesDep) -> ApiKeys:
    """Return all keys, also expired and revoked ones, without their secrets."""
    keys = KeyStore(services.database).all()
    return ApiKeys(data=[ApiKey.model_validate(key) for key in keys])


@router.post(
    "",
    status_code=201,
    summary="Create an API key",
    operation_id="create_key",
    openapi_extra=request_body.json_request_body(NewKey, required=True),
    responses=CREATED | error_responses(*BODY_ERRORS, Conflict, INVALID_NAME),
)
async def create(request: Request, response: Response, services: ServicesDep) -> NewApiKey:
    """`key` is the secret. The service stores only its digest, and cannot show it again."""
    _require_keys(request)
    new_key = await request_body.read_json(request, NewKey)
    store = KeyStore(services.database)
    key, secret = await asyncio.to_thread(store.create, new_key.name, new_key.scopes, new_key.days)
    return _created(key, secret, request, response, services)


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    summary="Rotate an API key",
    operation_id="rotate_key",
    openapi_extra=request_body.json_request_body(Rotation, required=False),
    responses=CREATED
    | error_responses(
        *(*BODY_ERRORS, NotFound, Conflict),
        invalid_field_example("grace_seconds", "Input should be greater than or equal to 0"),
    ),
)
async def rotate(
    key_id: str, request: Request, response: Response, services: ServicesDep
) -> NewApiKey:
    """Create a key with the same name, scopes and lifetime. The old one expires after the grace
    period.
    """
    _require_keys(request)
    rotation = await request_body.read_json(request, Rotation)
    store = KeyStore(services.database)
    key, secret = await asyncio.to_thread(store.rotate, key_id, rotation.grace_seconds)
    return _created(key, secret, request, response, services)


@router.delete(
    "/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    operation_id="revoke_key",
    responses=error_responses(NotFound, Conflict),
)
def revoke(key_id: str, request: Request, services: ServicesDep) -> None:
    """Every process of the service refuses the key within a second. It stays in the list."""
    _require_keys(request)
    KeyStore(services.database).revoke(key_id)


def _created(
    key: Key, secret: str, request: Request, response: Response, services: Services
) -> NewApiKey:
    add_log_fields(request, services, key_id=key.id)
    response.headers["Location"] = f"/keys/{key.id}"
    return NewApiKey(**ApiKey.model_validate(key).model_dump(), key=secret)


def _require_keys(request: Request) -> None:
    """Raise Conflict if the service is open: a key that anyone made would be valid after that."""
    if request.state.api_key is None:
        raise Conflict(
            "MYNET_AUTH=none: this service needs no key, so it does not change keys over HTTP. "
            "Use `mynet keys` on its machine."
        )
