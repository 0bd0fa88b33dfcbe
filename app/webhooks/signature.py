"""Signatures of Standard Webhooks 1.0: HMAC-SHA256 of `id.timestamp.body`."""

import base64
import hmac
from typing import Final

VERSION: Final = "v1"


def signed_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers by which the receiver knows the sender; `timestamp` is in seconds."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"{VERSION},{signature}",
    }
