"""Delivery over TLS: the certificate must be valid, and come from an authority that is trusted."""

import asyncio
import ssl

import pytest

from app.webhooks.dispatcher import Dispatcher, Timing
from app.webhooks.http_post import TimeOuts
from tests.programs import write_certificate
from tests.webhooks.receiver import receiving

# Long enough on any machine: one attempt is made, and it ends by itself.
ONE_ATTEMPT = Timing(first_wait=3600, time_outs=TimeOuts(connect=120, total=240))


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"webhook_allow": "localhost"})


@pytest.fixture
def certificate(tmp_path):
    return write_certificate(tmp_path, "localhost")


@pytest.fixture
def tls_receiver(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with receiving(tls=context) as server:
        yield server


@pytest.fixture
def deliver(settings, database, outbox, ended_job, tls_receiver):
    """Send the message of a job once, and return it."""

    def deliver():
        job = ended_job(tls_receiver.url)
        asyncio.run(Dispatcher(settings, database, ONE_ATTEMPT).deliver_due())
        (message,) = outbox.deliveries_by_job([job.id])[job.id]
        return message

    return deliver


def test_receiver_with_a_certificate_of_a_trusted_authority_gets_the_message(
    deliver, tls_receiver, certificate, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    message = deliver()
    assert (message.state, message.last_status, message.last_error) == ("delivered", 204, None)
    ((message_id, body),) = tls_receiver.received
    assert (message_id, body["type"]) == (message.id, "job.cancelled")
    ((_, headers, _),) = tls_receiver.requests
    assert headers["Host"] == f"localhost:{tls_receiver.server_port}"


def test_receiver_with_an_untrusted_certificate_gets_nothing_and_the_delivery_says_why(
    deliver, tls_receiver
):
    message = deliver()
    assert (message.state, message.attempts, message.last_status) == ("pending", 1, None)
    assert message.last_error.startswith("the certificate is not valid: self-signed certificate")
    assert tls_receiver.requests == []


def test_receiver_with_the_certificate_of_another_host_gets_nothing(
    deliver, tls_receiver, tmp_path, monkeypatch
):
    other = write_certificate(tmp_path, "other.example")
    tls_receiver.tls.load_cert_chain(other, other.with_name("key.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    message = deliver()
    assert "Hostname mismatch" in message.last_error
    assert tls_receiver.requests == []
