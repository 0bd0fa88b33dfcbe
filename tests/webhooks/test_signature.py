"""Signatures, as the package `standardwebhooks` verifies them."""

import time

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.config import webhooks
from app.webhooks.signature import signed_headers
from tests.webhooks.receiver import SECRET

BODY = '{"type":"job.succeeded","data":{"note":"Ziffern €"}}'.encode()


def headers(timestamp):
    return signed_headers(webhooks.key(SecretStr(SECRET)), "msg_1", timestamp, BODY)


def test_standard_webhooks_verifies_the_signature():
    signed = headers(int(time.time()))
    assert set(signed) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert Webhook(SECRET).verify(BODY, signed)["type"] == "job.succeeded"


def test_signature_is_the_documented_one():
    """The vector of the specification's reference implementations."""
    key = webhooks.key(SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    message_id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
    signed = signed_headers(key, message_id, 1614265330, body)
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("change", ["body", "id", "secret", "time"])
def test_what_was_changed_on_the_way_is_not_verified(change):
    signed, body, secret = headers(int(time.time())), BODY, SECRET
    if change == "body":
        body += b" "
    elif change == "id":
        signed["webhook-id"] = "msg_2"
    elif change == "secret":
        secret = SECRET.replace("MfK", "MfL")
    else:
        signed = headers(int(time.time()) - 3600)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, signed)
