"""The routes that Vertex AI gives a container by `AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE`.

What enters: settings. What leaves: routes, which answer as `/health/ready` and KServe's V1 do. This
module does not know how the platform's variables become settings.
"""

from fastapi import APIRouter

from app.api import health, v1
from app.api.services import MayPredict
from app.settings import Settings


def router(settings: Settings) -> APIRouter:
    """Give the routes that are set."""
    routes = APIRouter(include_in_schema=False)
    if settings.health_route:
        routes.add_api_route(settings.health_route, health.ready)
    if settings.predict_route:
        routes.add_api_route(
            settings.predict_route, v1.predict, methods=["POST"], dependencies=[MayPredict]
        )
    return routes
