"""The webhook of a request: its URL and its events."""

import pytest
from pydantic import SecretStr, ValidationError

from app.config import webhooks
from app.webhooks.request import EVENTS, WebhookRequest
from tests.webhooks.receiver import SECRET


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://Example.org", "https://example.org/"),
        ("https://example.org:443/a b?x=1", "https://example.org/a%20b?x=1"),
        ("https://exämple.org/", "https://xn--exmple-cua.org/"),
        ("http://0x7f.1:9/", "http://127.0.0.1:9/"),
        ("http://2130706433/", "http://127.0.0.1/"),
    ],
)
def test_url_is_stored_in_its_normal_form(url, normal):
    webhook = WebhookRequest(url=url)
    assert (webhook.url, webhook.events) == (normal, [*EVENTS])


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://a.example/"},
        {"url": "/hooks"},
        {"url": "https://user:geheim@a.example/"},
        {"url": "https://geheim@a.example/"},
        {"url": "https://a.example/#geheim"},
        {"url": "https://a.example/" + "a" * 2100},
        {"url": "https://a.example/", "events": []},
        {"url": "https://a.example/", "events": ["done"]},
        {"url": "https://a.example/", "events": ["failed", "failed"]},
        {"url": "https://a.example/", "method": "PUT"},
    ],
)
def test_webhook_that_cannot_be_sent_is_refused_without_its_secrets(fields):
    with pytest.raises(ValidationError) as refusal:
        WebhookRequest(**fields)
    messages = [error["msg"] for error in refusal.value.errors()]
    assert messages and "geheim" not in str(messages)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_AAAA", SECRET[6:], "whsec_!!!", SECRET + SECRET[6:] * 2]
)
def test_secret_of_another_form_is_refused_with_how_to_make_one(secret):
    with pytest.raises(ValueError, match="openssl rand"):
        webhooks.secret(SecretStr(secret))


@pytest.mark.parametrize("setting", ["http://a.example", "10.0.0.0/99", "a..b", "a b"])
def test_allowed_entry_of_another_form_is_refused(setting):
    with pytest.raises(ValueError, match="hosts, addresses and networks"):
        webhooks.allowed(setting)
