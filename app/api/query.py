"""Check of the query: a parameter that a route does not know is refused, not ignored.

A training with `POST /train?epochs=1` would otherwise run with the default of ten epochs.
"""

from typing import Final

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from app.errors import FieldError, InvalidField

UNKNOWN: Final = "unknown query parameter"
MAX_FIELDS: Final = 10
MAX_NAME_LENGTH: Final = 100


async def check_query(request: Request) -> None:
    """Raise InvalidField if the query has a parameter that the route does not know."""
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    names = sorted(parameter.alias for parameter in route.dependant.query_params)
    unknown = [name for name in request.query_params if name not in names]
    if not unknown:
        return
    message = f"{UNKNOWN}: {_remedy(names, has_body=_has_body(route))}"
    errors = [FieldError(name[:MAX_NAME_LENGTH], message) for name in unknown[:MAX_FIELDS]]
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    raise InvalidField(f"{detail}.", errors=errors)


CheckQuery: Final = Depends(check_query)  # for routes without `ServicesDep`, which includes it


def _remedy(names: list[str], *, has_body: bool) -> str:
    allowed = f"the parameters are {', '.join(names)}" if names else "this route has none"
    return f"{allowed}; fields belong in the body" if has_body else allowed


def _has_body(route: APIRoute) -> bool:
    return "requestBody" in (route.openapi_extra or {})
