"""One POST: checked addresses, deadlines, and little that is read of the answer."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from app.webhooks.addresses import AllowedAddresses
from app.webhooks.http_post import HttpPoster, PostFailed, TimeOuts
from tests.service.running import free_port

TIME_OUTS = TimeOuts(connect=120, total=120)
SHORT_TIME_OUTS = TimeOuts(connect=0.5, total=1)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"


def post(url, allow="127.0.0.1", time_outs=TIME_OUTS):
    poster = HttpPoster(AllowedAddresses(allow), time_outs)
    return asyncio.run(poster.post(url, {}, b"{}"))


@contextmanager
def answering(*parts, pause=0.0):
    """Listen, and answer one request with these parts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the other side may break it off
                connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
                connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(120)


def test_status_is_that_after_interim_answers():
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    with answering(interim, b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n") as url:
        assert post(url) == 202


def test_body_of_the_answer_is_not_waited_for():
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx") as url:
        assert post(url) == 200


@pytest.mark.parametrize(
    ("parts", "message", "time_outs"),
    [
        ([b"SSH-2.0-OpenSSH\r\n"], "not HTTP", TIME_OUTS),
        ([SWITCHING], "asks for another protocol", TIME_OUTS),
        ([b""], "in time", SHORT_TIME_OUTS),
        ([b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000], "exceed", TIME_OUTS),
    ],
)
def test_answer_that_is_none_is_a_failure(parts, message, time_outs):
    with answering(*parts) as url, pytest.raises(PostFailed, match=message):
        post(url, time_outs=time_outs)


def test_answer_that_drips_ends_at_the_deadline():
    drips = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nA: " + b"b" * 300]
    with answering(*drips, pause=0.02) as url, pytest.raises(PostFailed, match="in time"):
        post(url, time_outs=SHORT_TIME_OUTS)


def test_port_without_listener_is_a_failure_that_names_no_address():
    with pytest.raises(PostFailed, match=r"^connection refused$"):
        post(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://[::ffff:127.0.0.1]:{}/"]
)
def test_address_that_is_not_allowed_is_not_connected_to(url):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        with pytest.raises(PostFailed, match="MYNET_WEBHOOK_ALLOW"):
            post(url.format(listener.getsockname()[1]), allow=None)
        with pytest.raises(TimeoutError):
            listener.accept()


def resolve_to(monkeypatch, *answers):
    """Make the name server answer each question with the next list of addresses."""
    hosts, lists = [], iter(answers)

    async def getaddrinfo(_loop, host, port, **_):
        hosts.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in next(lists)]

    monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", getaddrinfo)
    return hosts


def test_name_is_resolved_once_so_that_it_cannot_be_bound_again(monkeypatch):
    """The first answer is allowed and connected to; a second one would be another machine."""
    hosts = resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as url:
        assert post(url.replace("127.0.0.1", "hooks.example")) == 204
    assert hosts == ["hooks.example"]


def test_only_the_allowed_addresses_of_a_name_are_connected_to(monkeypatch):
    resolve_to(monkeypatch, ["10.0.0.1", "127.0.0.1"])
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as url:
        assert post(url.replace("127.0.0.1", "hooks.example")) == 204


def test_next_address_is_tried_if_one_does_not_answer(monkeypatch):
    resolve_to(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as url:
        assert post(url.replace("127.0.0.1", "hooks.example"), allow="127.0.0.0/8") == 204


def test_name_that_does_not_exist_is_a_failure():
    with pytest.raises(PostFailed, match="cannot be resolved"):
        post("http://nowhere.invalid/")
