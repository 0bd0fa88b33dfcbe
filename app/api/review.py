"""`/models/{version}/errors`: what a version reads wrong.

What enters: a version, and a cell of its confusion matrix. What leaves: the test images behind it.
This module does not know how answers are found.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Query

from app.api.refusals import GUARD, bad, documented
from app.api.schemas import TestImage, TestImages
from app.api.services import Limit, MayTrain, ServicesDep
from app.errors import Conflict, NotFound, NotReady
from app.image.png import to_data_url
from app.predict.test_set_errors import Reviewed

router = APIRouter(
    prefix="/models",
    tags=["models"],
    responses=documented(*GUARD, NotReady),
    dependencies=[MayTrain],
)

FIRST: Final = -1
NO_DIGIT: Final = bad("digit", "Input should be less than or equal to 9")
Label = Annotated[int | None, Query(ge=0, le=9, description="what the image shows")]
Answer = Annotated[int | None, Query(ge=0, le=9, description="what was read; any unless given")]
After = Annotated[int | None, Query(ge=0, description="index of the last image seen")]


@router.get(
    "/{version:version}/errors",
    summary="Show the test images that a version reads wrong",
    operation_id="get_version_errors",
    responses=documented(NotFound, Conflict, NO_DIGIT),
)
def get_errors(
    version: int,
    services: ServicesDep,
    digit: Label = None,
    answer: Answer = None,
    after: After = None,
    limit: Limit = 100,
) -> TestImages:
    """With `digit` and `answer`: that cell of the confusion matrix, also on its diagonal."""
    last = FIRST if after is None else after
    page, has_more = services.review.page(version, digit, answer, after=last, limit=limit)
    return TestImages(data=[_shown(each) for each in page], has_more=has_more)


def _shown(reviewed: Reviewed) -> TestImage:
    return TestImage(
        index=reviewed.index,
        digit=reviewed.digit,
        answer=reviewed.answer,
        confidence=reviewed.confidence,
        image=to_data_url(reviewed.pixels),
    )
