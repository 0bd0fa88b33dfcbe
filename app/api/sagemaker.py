"""What Amazon SageMaker asks of a container: `/ping` and `/invocations`.

What enters: uploads. What leaves: predictions. This module does not know how an image is read.
`deploy/serve` starts the service as the platform wants it.
"""

from fastapi import APIRouter, Request

from app.api import health, predict, problems
from app.api.health import Ready
from app.api.schemas import Prediction
from app.api.services import MayPredict, ServicesDep

router = APIRouter(tags=["SageMaker"], responses=problems.DOCUMENTED)


@router.get("/ping", summary="Say whether to send requests here")
async def ping(services: ServicesDep) -> Ready:
    """As `/health/ready`."""
    return await health.ready(services)


@router.post(
    "/invocations",
    summary="Read one handwritten digit",
    response_model_exclude_none=True,
    dependencies=[MayPredict],
    openapi_extra=predict.ONE_IMAGE,
)
async def invocations(request: Request, services: ServicesDep) -> Prediction:
    """As `/predict`: the image itself, a form, or JSON."""
    return await predict.predict(request, services)
