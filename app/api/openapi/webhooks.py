"""The webhooks of the OpenAPI document: what the service sends, and what it takes for an answer."""

from typing import Any, Final, get_args

from app.api.request_body import json_content
from app.api.schemas.messages import WebhookMessage
from app.webhooks.request import WebhookEvent

SUMMARIES: Final[dict[WebhookEvent, str]] = {
    "succeeded": "A job succeeded: its version is stored",
    "failed": "A job failed",
    "cancelled": "A job was cancelled",
    "promoted": "A job made its version live",
}
DESCRIPTION: Final = """\
Sent to the `webhook` of `POST /train` and to `MYNET_WEBHOOK_URL`, signed as
[Standard Webhooks](https://www.standardwebhooks.com) has it. Any other answer than 2xx, and none
within 20 s, is a failure: the message is sent again with the same `webhook-id`, for 24 hours, with
growing waits. A message may come twice, and messages may come in any order.\
"""
HEADERS: Final = {
    "webhook-id": ("id of the message, the same in every attempt", "msg_2f1c9d7a60b3e8452f1c9d7a"),
    "webhook-timestamp": ("when the attempt was made, in seconds since 1970", "1795426206"),
    "webhook-signature": (
        "`v1,` and the base64 of HMAC-SHA256 of `id.timestamp.body`",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
}


def operations() -> dict[str, Any]:
    """Return the section `webhooks` of the document."""
    return {f"job.{event}": {"post": _operation(event)} for event in get_args(WebhookEvent)}


def _operation(event: WebhookEvent) -> dict[str, Any]:
    return {
        "tags": ["train"],
        "summary": SUMMARIES[event],
        "description": DESCRIPTION,
        "operationId": f"on_job_{event}",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
                "example": example,
            }
            for name, (description, example) in HEADERS.items()
        ],
        "requestBody": {"required": True, "content": json_content(WebhookMessage)},
        "responses": {
            "2XX": {"description": "The message is accepted"},
            "410": {"description": "The receiver is gone for good: the message is given up"},
        },
    }
