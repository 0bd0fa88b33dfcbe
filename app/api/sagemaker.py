"""What Amazon SageMaker asks of a container: `/ping` and `/invocations`.

What enters: uploads. What leaves: predictions. This module does not know how an image is read.
`deploy/serve` starts the service as the platform wants it.
"""

from fastapi import APIRouter, Request

from app.api import health, predict
from app.api.health import Ready
from app.api.refusals import GUARD, bad, documented
from app.api.schemas import Prediction
from app.api.services import MayPredict, ServicesDep
from app.errors import NotReady

router = APIRouter(tags=["SageMaker"])


@router.get(
    "/ping",
    summary="Say whether to send requests here",
    operation_id="sagemaker_ping",
    responses=documented(NotReady),
)
async def ping(services: ServicesDep) -> Ready:
    """As `/health/ready`."""
    return await health.ready(services)


@router.post(
    "/invocations",
    summary="Read one handwritten digit",
    response_model_exclude_none=True,
    dependencies=[MayPredict],
    openapi_extra=predict.ONE_IMAGE,
    operation_id="sagemaker_invoke",
    responses=documented(
        *(*GUARD, *predict.OF_UPLOADS, *predict.OF_IMAGES), bad("image", "Field required")
    ),
)
async def invocations(request: Request, services: ServicesDep) -> Prediction:
    """As `/predict`: the image itself, a form, or JSON."""
    return await predict.predict(request, services)
