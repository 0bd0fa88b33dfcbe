"""SIGHUP renews the certificate of whole services, and stops those whose terminal is closed."""

import os
import pty
import re
import signal
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import accumulate

import httpx2
import pytest

from tests.programs import find_program, write_certificate
from tests.service.addresses.running import answers, serving
from tests.service.running import ANSWER_TIMEOUT, free_port, wait_until

OK = b"HTTP/1.1 200 "
# An upload whose rest comes more than five seconds after SIGTERM, on a slow machine, is a 503.
ANSWERED = {OK, b"HTTP/1.1 503 "}


@pytest.fixture(autouse=True)
def default_sighup():
    """Make services get SIGHUP even if the tests run under nohup, which ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def tls_connection(port):
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT) as connection:
        context = ssl._create_unverified_context()
        with context.wrap_socket(connection) as tls:
            yield tls


def shown_certificate(port):
    """Return the certificate that the service shows, as PEM."""
    with tls_connection(port) as tls:
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))


def begin_upload(connection, image):
    """Send the head of an upload. Return whether a worker reads it, and does not close instead."""
    head = (
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(image)}\r\n\r\n"
    )
    connection.sendall(head.encode())
    received = connection.recv(65536)
    assert not received or received.startswith(b"HTTP/1.1 100 "), received
    return bool(received)


def finish_upload(connection, image):
    """Send the body of an upload. Return the beginning of the answer."""
    connection.sendall(image)
    return connection.recv(65536)[: len(OK)]


def upload_until(stop, port, image):
    """Upload again and again, over new connections. Return the beginnings of the answers."""
    received = []
    while not stop.is_set():
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(tls_connection(port))
                is_read = begin_upload(connection, image)
            except OSError:
                is_read = False
            # It is in progress when a worker stops. A new connection may be closed: clients retry.
            stop.wait(0.5)
            if is_read:
                received.append(finish_upload(connection, image))
    return received


def all_serve(port, log, workers):
    """Return whether all workers have started, and the port is open."""
    with socket.socket() as probe:
        started = log().count("Application startup complete")
        return started == workers and probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def uploading(port, log, workers):
    """Connect to a service when all of its workers serve."""
    assert wait_until(lambda: all_serve(port, log, workers)), log()
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT) as connection:
        yield connection


def replace_workers(process, log):
    """Send SIGHUP, and wait until all workers have been replaced.

    The service keeps a worker whose replacement takes longer than 30 seconds to start, as on a slow
    machine. Then SIGHUP is sent again.
    """
    workers = re.findall(r"Started server process \[(\d+)\]", log())
    sent = 0

    def all_replaced():
        nonlocal sent
        if log().count("aborting the restart") == sent:
            process.send_signal(signal.SIGHUP)
            sent += 1
        return all(f"Finished server process [{pid}]" in log() for pid in workers)

    assert wait_until(all_replaced), log()


def serving_counts(log):
    """Return how many workers served, after each that began or stopped to."""
    changes = {"Application startup complete": 1, "Shutting down": -1}
    lines = re.findall(rf"uvicorn\.error: ({'|'.join(changes)})", log())
    return list(accumulate(changes[line] for line in lines))


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
        assert shown_certificate(port) == first
        write_certificate(tmp_path, "second")
        process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "TLS certificate read again" in log()), log()
        assert shown_certificate(port) == (tmp_path / "cert.pem").read_text() != first
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


def test_two_workers_with_tls_are_replaced_one_after_the_other_on_sighup(tmp_path, seven):
    certificate = write_certificate(tmp_path, "first")
    port, stop = free_port(), threading.Event()
    files = {"tls_cert": certificate, "tls_key": tmp_path / "key.pem"}
    settings = {"port": port, "workers": 2, "predict_timeout": ANSWER_TIMEOUT}
    with ExitStack() as stack:
        process, log = stack.enter_context(serving(tmp_path, **settings, **files))
        assert wait_until(lambda: all_serve(port, log, 2)), log()
        first = certificate.read_text()
        assert shown_certificate(port) == first
        write_certificate(tmp_path, "second")
        threads = stack.enter_context(ThreadPoolExecutor())
        stack.callback(stop.set)
        uploads = [threads.submit(upload_until, stop, port, seven) for _ in range(2)]
        replace_workers(process, log)
        assert {shown_certificate(port) for _ in range(20)} == {certificate.read_text()} != {first}
        stop.set()
        received = [answer for upload in uploads for answer in upload.result()]
        assert OK in received
        assert set(received) <= ANSWERED
        assert min(serving_counts(log)[1:]) == 2, log()


@pytest.mark.parametrize("workers", [1, 2])
def test_service_whose_terminal_closes_finishes_uploads(tmp_path, seven, workers):
    port = free_port()
    terminal, stdin = pty.openpty()
    settings = {"port": port, "workers": workers, "predict_timeout": ANSWER_TIMEOUT}
    with (
        serving(tmp_path, stdin=stdin, **settings) as (process, log),
        uploading(port, log, workers) as connection,
    ):
        assert begin_upload(connection, seven)
        os.close(stdin)
        os.close(terminal)
        os.killpg(process.pid, signal.SIGHUP)  # the kernel sends it to the foreground job
        assert finish_upload(connection, seven) in ANSWERED, log()
        assert process.wait(120) in (0, -signal.SIGTERM), log()
    assert log().count("Application shutdown complete") == workers


@pytest.mark.parametrize("workers", [1, 2])
def test_service_under_nohup_ignores_sighup(tmp_path, seven, workers):
    port = free_port()
    settings = {"port": port, "workers": workers, "predict_timeout": ANSWER_TIMEOUT}
    with (
        serving(tmp_path, prefix=[find_program("nohup")], **settings) as (process, log),
        uploading(port, log, workers) as connection,
    ):
        assert begin_upload(connection, seven)
        os.killpg(process.pid, signal.SIGHUP)
        assert finish_upload(connection, seven) == OK, log()
        process.terminate()  # the service would handle SIGHUP first
        assert process.wait(120) in (0, -signal.SIGTERM), log()
    assert "SIGHUP" not in log()
