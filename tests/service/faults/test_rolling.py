"""Two services behind nginx are restarted one after the other, and nothing is lost."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count, cycle, takewhile

import httpx2

from app.main import create_app
from app.train.jobs import events as job_events
from app.train.supervisor.supervisor import Supervisor
from mynet_client import Client
from tests.conftest import ROOT
from tests.rigs.load import uploads
from tests.rigs.load.closed_loop import paced, press_all
from tests.rigs.nginx import run_nginx
from tests.served import serve_app
from tests.service.running import ANSWER_TIMEOUT, free_port, run_service, wait_until

READ_TIMEOUT = "proxy_read_timeout 60s;"


@contextmanager
def nginx(folder, front, services, read_timeout="60s"):
    """Run nginx as `deploy/nginx.conf` says, on other ports, with another `proxy_read_timeout`."""
    site = (ROOT / "deploy" / "nginx.conf").read_text()
    assert READ_TIMEOUT in site
    site = site.replace(READ_TIMEOUT, f"proxy_read_timeout {read_timeout};")
    for number, port in zip(("8001", "8002", "8080"), (*services, front), strict=True):
        site, count = re.subn(f"127.0.0.1:{number}", f"127.0.0.1:{port}", site)
        assert count == 1
    with run_nginx(folder, site):
        yield


def has_answered(service):
    return service.get("/health/ready")["images"].get("answered", 0) > 0


def poll_other_routes(url, job, stop):
    """Request the other routes again and again, each time without a retry."""
    with Client(url, attempts=1) as mynet:
        for number in count():
            assert mynet.models().current
            assert mynet.job(job).id == job.id
            if stop.is_set():
                return number
            time.sleep(0.05)


def follow(url, job):
    with Client(url) as mynet:
        return [event.id for event in mynet.events(job)]


def test_nginx_hands_on_the_host_with_its_port(tmp_path):
    front, *ports = [free_port() for _ in range(3)]
    own = f"http://127.0.0.1:{front}"
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(run_service(tmp_path / "var", port=port))
        stack.enter_context(nginx(tmp_path / "nginx", front, ports))
        for origin, status in ((own, 404), ("http://127.0.0.1", 403), ("http://a.example", 403)):
            answer = httpx2.post(
                f"{own}/train/none/cancel", headers={"Origin": origin}, timeout=ANSWER_TIMEOUT
            )
            assert (origin, answer.status_code) == (origin, status)


def test_nginx_lets_a_log_wait_for_longer_than_its_time_out(tmp_path, settings, monkeypatch):
    """All times are shorter: a sign of life after 2 s, a time-out after 8 s."""
    assert job_events.HEARTBEAT * 4 == 60, "the ratio is that of READ_TIMEOUT"
    monkeypatch.setattr(job_events, "HEARTBEAT", 2.0)
    monkeypatch.setattr(Supervisor, "_schedule", lambda _: None)  # a job waits in its queue
    front = free_port()
    with ExitStack() as stack:
        service = stack.enter_context(serve_app(create_app(settings)))
        ports = (service.base_url.port, free_port())
        stack.enter_context(nginx(tmp_path / "nginx", front, ports, read_timeout="8s"))
        url = f"http://127.0.0.1:{front}/train"
        started, text = time.monotonic(), ""
        job = httpx2.post(url, timeout=ANSWER_TIMEOUT).json()["id"]
        log = stack.enter_context(
            httpx2.stream("GET", f"{url}/{job}/log?follow=true", timeout=ANSWER_TIMEOUT)
        )
        for part in log.iter_text():  # raises if nginx breaks the connection
            text += part
            if len(text) >= 5:
                httpx2.post(f"{url}/{job}/cancel", timeout=ANSWER_TIMEOUT)
        assert time.monotonic() - started > 8
    assert log.status_code == 200
    assert set(text) == {"\r"}


def test_a_rolling_restart_loses_nothing(tmp_path):
    front, *ports = [free_port() for _ in range(3)]
    url = f"http://127.0.0.1:{front}"
    requests, stop = uploads.requests(), threading.Event()

    def requests_until_stopped():
        return takewhile(lambda _: not stop.is_set(), paced(cycle(requests), 200))

    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        stack.callback(stop.set)
        services = [stack.enter_context(run_service(tmp_path / "var", port=port)) for port in ports]
        stack.enter_context(nginx(tmp_path / "nginx", front, ports))
        load = threads.submit(press_all, front, requests_until_stopped(), 16)
        mynet = stack.enter_context(Client(url))
        job = mynet.train(epochs=1000, promote="never")
        poll_future = threads.submit(poll_other_routes, url, job, stop)
        events_future = threads.submit(follow, url, job)
        for service in services:
            assert wait_until(partial(has_answered, service))
            service.end()
            restarted = stack.enter_context(run_service(tmp_path / "var", port=service.port))
            assert wait_until(partial(has_answered, restarted))
        stop.set()
        pressed, poll_count = load.result(), poll_future.result()
        mynet.cancel(job)
        assert events_future.result() == follow(url, job)
    assert (pressed.wrong, dict(pressed.refused)) == (0, {})
    assert len(pressed.latencies) > len(requests)
    assert poll_count > 10
