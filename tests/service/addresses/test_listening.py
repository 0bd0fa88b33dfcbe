"""Whole services on a Unix socket, and with TLS, whose certificate SIGHUP renews."""

import os
import signal
import socket
import ssl
import subprocess
from contextlib import contextmanager

import httpx2
import pytest

from tests.programs import write_certificate
from tests.service.running import ANSWER_TIMEOUT, DATA, MYNET, free_port, wait_until


@pytest.fixture(autouse=True)
def default_sighup():
    """Make services get SIGHUP even if the tests run under nohup, which ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def serving(tmp_path, **settings):
    """Run `mynet serve`, and yield its process and a function that returns its log."""
    environment = {f"MYNET_{name.upper()}": str(value) for name, value in settings.items()}
    defaults = {"MYNET_STATE_DIR": str(tmp_path / "var"), "MYNET_DATA_DIR": str(DATA)}
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [MYNET, "serve"],
            env={**os.environ, **defaults, **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        ) as process,
    ):
        try:
            yield process, log.read_text
        finally:
            process.terminate()


def answers(client, path="/health/ready"):
    try:
        return client.get(path).status_code == 200
    except httpx2.TransportError:
        return False


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


def common_name(port):
    """Return whether the service shows the certificate that the file holds."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT) as connection:
        context = ssl._create_unverified_context()
        with context.wrap_socket(connection) as tls:
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))


def test_service_with_tls_reads_the_certificate_again_on_sighup(tmp_path):
    write_certificate(tmp_path, "first")
    port = free_port()
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    url = f"https://127.0.0.1:{port}"
    with (
        serving(tmp_path, port=port, **files) as (process, log),
        httpx2.Client(base_url=url, verify=False, timeout=ANSWER_TIMEOUT) as client,
    ):
        assert wait_until(lambda: answers(client)), log()
        first = (tmp_path / "cert.pem").read_text()
        assert common_name(port) == first
        write_certificate(tmp_path, "second")
        process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "TLS certificate read again" in log()), log()
        assert common_name(port) == (tmp_path / "cert.pem").read_text() != first
        (tmp_path / "cert.pem").write_text("damaged")
        process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "TLS certificate not read again" in log()), log()
        assert answers(client), "the connection from before goes on"


def test_service_without_tls_survives_sighup(tmp_path):
    port = free_port()
    with (
        serving(tmp_path, port=port) as (process, log),
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_TIMEOUT) as client,
    ):
        assert wait_until(lambda: answers(client)), log()
        process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "no TLS certificate to read again" in log()), log()
        assert answers(client)


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
