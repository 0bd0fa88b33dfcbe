"""The webhook that the request for a job may name."""

from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.config import webhooks

WebhookEvent = Literal["succeeded", "failed", "cancelled", "promoted"]
EVENTS: Final[tuple[WebhookEvent, ...]] = get_args(WebhookEvent)
MAX_URL_LENGTH: Final = 2083


def _distinct(events: list[WebhookEvent]) -> list[WebhookEvent]:
    if len({*events}) < len(events):
        raise ValueError("contains an event twice; list each event once")
    return events


class WebhookRequest(BaseModel):
    """Where to send the end of a job, signed as Standard Webhooks has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: Annotated[str, AfterValidator(webhooks.url)] = Field(
        max_length=MAX_URL_LENGTH,
        description="http or https, without user name, password and fragment",
        json_schema_extra={"format": "uri"},
    )
    events: Annotated[list[WebhookEvent], AfterValidator(_distinct)] = Field(
        default_factory=lambda: [*EVENTS],
        min_length=1,
        description="`promoted`: the job's version went live when the job ended; default: all",
        json_schema_extra={"uniqueItems": True},
    )
