"""Many images of one request, in protocols that answer for all or for none.

What enters: images, encoded or as the network is given them. What leaves: an answer each, all of
one version. This module does not know which protocol asks.
"""

from collections.abc import Sequence

from fastapi import Request

from app.api.services import Services, is_gone, note
from app.errors import Refusal
from app.predict.model import Answer
from app.predict.preprocess import Seen


async def answer_all(
    request: Request, services: Services, images: Sequence[bytes | Seen], version: int | None = None
) -> list[Answer]:
    """Answer for images, in their order, with the live version unless another is named.

    Raises as `Predictor.predict_batch`, and what is wrong with the first image that is refused.
    """
    gone = is_gone(request.scope)
    if len(images) == 1:  # it goes together with what others send at the same moment
        answer = (await services.predictor.predict(images[0], version, is_gone=gone)).answer
        note(request, services, version=answer.version)
        return [answer]
    predicted, answered_by = await services.predictor.predict_batch(images, version, is_gone=gone)
    note(request, services, version=answered_by)
    answers = []
    for number, each in enumerate(predicted):
        if isinstance(each, Refusal):
            raise type(each)(f"image {number}: {each.detail}")
        answers.append(each.answer)
    return answers
