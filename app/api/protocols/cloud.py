"""Container routes of Amazon SageMaker and Vertex AI.

`deploy/serve` starts the service the way SageMaker requires. Vertex AI sets the paths of its routes
in `AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE`.
"""

from fastapi import APIRouter, Request

from app.api.dependencies import RequirePredict, ServicesDep
from app.api.error_responses import ACCESS_ERRORS, error_responses, invalid_field_example
from app.api.protocols import kserve_v1
from app.api.routes import health, predict
from app.api.schemas.health import Ready
from app.api.schemas.predictions import Prediction
from app.config.settings import Settings
from app.errors import NotReady

router = APIRouter(tags=["SageMaker"])


@router.get(
    "/ping",
    summary="Check readiness",
    operation_id="sagemaker_ping",
    responses=error_responses(NotReady),
)
async def ping(services: ServicesDep) -> Ready:
    """Return the same as `/health/ready`."""
    return health.readiness(services)


@router.post(
    "/invocations",
    summary="Read one handwritten digit",
    response_model_exclude_unset=True,
    dependencies=[RequirePredict],
    openapi_extra=predict.ONE_IMAGE,
    operation_id="sagemaker_invoke",
    responses=error_responses(
        *(*ACCESS_ERRORS, *predict.UPLOAD_ERRORS, *predict.IMAGE_ERRORS),
        invalid_field_example("image", "Field required"),
    ),
)
async def invocations(request: Request, services: ServicesDep) -> Prediction:
    """Accept the same bodies as `/predict`: the image itself, a form, or JSON."""
    return await predict.predict_one(request, services)


def vertex_ai_router(settings: Settings) -> APIRouter:
    """Return a router with the Vertex AI routes whose paths are set."""
    routes = APIRouter(include_in_schema=False)
    if settings.health_route:
        routes.add_api_route(settings.health_route, health.ready)
    if settings.predict_route:
        routes.add_api_route(
            settings.predict_route,
            kserve_v1.predict,
            methods=["POST"],
            dependencies=[RequirePredict],
        )
    return routes
