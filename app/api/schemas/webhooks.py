"""Bodies about webhooks: what a job shows of its own, and what is sent."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.config.webhooks import without_query
from app.webhooks.request import WebhookEvent

DisplayedUrl = Annotated[
    str, AfterValidator(without_query), Field(description="the URL; its query is not shown")
]


class Webhook(BaseModel):
    """Where the end of a job is sent."""

    model_config = ConfigDict(from_attributes=True)

    url: DisplayedUrl
    events: list[WebhookEvent]


class Delivery(BaseModel):
    """A message about a job to one URL, and what became of it so far."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="the header `webhook-id` of every attempt")
    event: WebhookEvent
    url: DisplayedUrl
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="null if no attempt follows")
    finished_at: datetime | None
    last_status: int | None = Field(description="status of the receiver's last answer")
    last_error: str | None = Field(description="why the last attempt failed")
