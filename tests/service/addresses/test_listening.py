"""Whole services on several addresses, on a Unix socket, and with wrong TLS files."""

import signal
import socket
from functools import partial

import httpx2
import pytest

from tests.server.test_listening import needs_ipv6
from tests.service.addresses.running import answers, serving
from tests.service.running import ANSWER_TIMEOUT, free_port, wait_until


@needs_ipv6
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("host", ["::", "127.0.0.1,::1"])
def test_service_on_both_families_answers_and_logs_plain_addresses(tmp_path, host, workers):
    port = free_port()
    with serving(tmp_path, host=host, port=port, workers=workers, auth="none") as (_, log):
        for address, netloc in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
            url = f"http://{netloc}:{port}"
            with httpx2.Client(base_url=url, timeout=ANSWER_TIMEOUT) as client:
                assert wait_until(partial(answers, client)), log()
                assert client.post("/train/none/cancel").status_code == 404
            line = f"POST /train/none/cancel 404 by anonymous from {address}\n"
            assert wait_until(lambda line=line: line in log()), log()


def accepts(path):
    """Return whether a service listens on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_service_on_a_unix_socket_answers_and_trusts_its_proxy(tmp_path, workers):
    path = tmp_path / "mynet.sock"
    transport = httpx2.HTTPTransport(uds=str(path))
    with (
        serving(tmp_path, uds=path, workers=workers) as (process, log),
        httpx2.Client(
            transport=transport, base_url="http://localhost", timeout=ANSWER_TIMEOUT
        ) as client,
    ):
        assert wait_until(lambda: accepts(path)), log()
        assert wait_until(lambda: answers(client)), log()
        headers = {"X-Forwarded-Prefix": "/mynet"}
        document = client.get("/openapi.json", headers=headers).json()
        assert document["servers"] == [{"url": "/mynet"}]
        process.terminate()
        assert process.wait(120) in (0, -signal.SIGTERM), log()
    assert not path.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tls_cert": "cert.pem"}, "set both, as PEM files"),
        ({"tls_cert": "no.pem", "tls_key": "no.pem"}, "cannot be used"),
    ],
)
def test_service_with_wrong_tls_files_does_not_start(tmp_path, settings, message):
    with serving(tmp_path, port=free_port(), **settings) as (process, log):
        assert process.wait(120) == 2
        assert message in log()
