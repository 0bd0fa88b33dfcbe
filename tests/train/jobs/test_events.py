"""Events as they come: in order, whole, shared by those who are as far, until the job has ended."""

import asyncio
from collections import Counter

import pytest

from app.database.jobs import JobStore
from app.errors import NotReady
from app.train.jobs import events as job_events
from app.train.jobs import job as jobs
from app.train.jobs.events import EventStream
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters


@pytest.fixture(autouse=True)
def short_poll_interval(monkeypatch):
    monkeypatch.setattr(job_events, "POLL", 0.02)


@pytest.fixture
def running(store):
    """A job's id and its attempt."""
    job = jobs.create(store, Hyperparameters(), max_queued=9, key=None)
    return job.id, jobs.start(store, job)


def record_batch(store, running, batch):
    data = {"epoch": 0, "batch": batch, "loss": 1.0}
    FencedWriter(store, *running).record("batch", data, progress=None)


def summarize(events):
    return [event.data.get("status") or event.data["batch"] for event in events]


async def listen(stream, job_id, after=0, stop=None, go_on=None):
    """Return the events of a job; with `go_on`, wait for that event after each page."""
    events = []
    async for page in stream.subscribe(job_id, after, stop or asyncio.Event()):
        events += page
        if go_on:
            await go_on.wait()
    return events


def test_a_listener_gets_all_until_the_job_ends(store, running):
    async def scenario():
        task = asyncio.create_task(listen(EventStream(store), running[0]))
        for batch in range(5):
            await asyncio.sleep(0.03)
            await asyncio.to_thread(record_batch, store, running, batch)
        jobs.cancel(store, running[0])
        return await asyncio.wait_for(task, 120)

    events = asyncio.run(scenario())
    assert summarize(events) == ["queued", "running", 0, 1, 2, 3, 4, "cancelled"]
    assert [event.number for event in events] == sorted({event.number for event in events})


def test_a_database_that_is_away_at_a_heartbeat_ends_no_listener(store, running, monkeypatch):
    def raise_not_ready(*_, **__):
        raise NotReady("The database does not answer.")

    async def scenario():
        pages = EventStream(store).subscribe(running[0], 0, asyncio.Event())
        first = await anext(pages)
        with monkeypatch.context() as patch:
            patch.setattr(JobStore, "events", raise_not_ready)
            patch.setattr(JobStore, "job", raise_not_ready)
            empty_page = await anext(pages)
        jobs.cancel(store, running[0])
        return [summarize(page) for page in (first, empty_page)], [
            summarize(page) async for page in pages
        ]

    monkeypatch.setattr(job_events, "HEARTBEAT", 0.1)
    first_pages, last_pages = asyncio.run(scenario())
    assert first_pages == [["queued", "running"], []]
    assert last_pages[-1] == ["cancelled"]


def test_it_goes_on_after_the_last_one_seen(store, running):
    record_batch(store, running, 1)
    last = store.events(running[0])[-1].number
    record_batch(store, running, 2)
    jobs.cancel(store, running[0])
    assert summarize(asyncio.run(listen(EventStream(store), running[0], last))) == [2, "cancelled"]


def test_a_long_past_comes_in_pages(store, running, monkeypatch):
    monkeypatch.setattr(job_events, "PAGE", 2)
    for batch in range(5):
        record_batch(store, running, batch)
    jobs.cancel(store, running[0])
    events = asyncio.run(listen(EventStream(store), running[0]))
    assert summarize(events) == ["queued", "running", 0, 1, 2, 3, 4, "cancelled"]


def test_other_jobs_are_not_heard(store, running):
    other = jobs.create(store, Hyperparameters(), max_queued=9, key=None).id
    record_batch(store, running, 1)
    jobs.cancel(store, other)
    assert summarize(asyncio.run(listen(EventStream(store), other))) == ["queued", "cancelled"]


def test_listeners_share_their_looks_and_a_slow_one_delays_nobody(store, running, monkeypatch):
    reads, real = Counter(), JobStore.events

    def counting_events(self, job_id, after=0, *args, **kw):
        reads[after] += 1
        return real(self, job_id, after, *args, **kw)

    monkeypatch.setattr(JobStore, "events", counting_events)
    monkeypatch.setattr(job_events, "POLL", 0.2)

    async def scenario():
        stream, go_on = EventStream(store), asyncio.Event()
        slow = asyncio.create_task(listen(stream, running[0], go_on=go_on))
        listeners = [asyncio.create_task(listen(stream, running[0])) for _ in range(50)]
        await asyncio.sleep(0.1)
        record_batch(store, running, 1)
        await asyncio.sleep(0.3)
        jobs.cancel(store, running[0])
        results = await asyncio.gather(*listeners)
        assert not slow.done()
        go_on.set()
        return [*results, await slow]

    results = asyncio.run(scenario())
    assert len({tuple(summarize(events)) for events in results}) == 1
    assert sum(reads.values()) < 51, "fifty listeners cost no more than a few"


def test_who_leaves_takes_nothing_from_the_others(store, running, monkeypatch):
    monkeypatch.setattr(job_events, "POLL", 120)

    async def scenario():
        stream = EventStream(store)
        leaving = asyncio.create_task(stream.page(running[0], 0))
        staying = asyncio.create_task(stream.page(running[0], 0))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert summarize(asyncio.run(scenario())) == ["queued", "running"]


def test_silence_is_told_now_and_then(store, running, monkeypatch):
    monkeypatch.setattr(job_events, "HEARTBEAT", 0.05)

    async def scenario():
        pages = EventStream(store).subscribe(running[0], 0, asyncio.Event())
        return [await anext(pages) for _ in range(3)]

    first, *silence = asyncio.run(scenario())
    assert summarize(first) == ["queued", "running"]
    assert [list(page) for page in silence] == [[], []]


def test_a_log_without_lines_sends_what_a_terminal_does_not_show(store, monkeypatch):
    monkeypatch.setattr(job_events, "HEARTBEAT", 0.05)
    queued = jobs.create(store, Hyperparameters(), max_queued=9, key=None)

    async def scenario():
        log = EventStream(store).follow_log(queued.id, asyncio.Event())
        idle = [await anext(log), await anext(log)]
        attempt = jobs.start(store, queued)  # an event, and no line of the log
        idle.append(await anext(log))
        record_batch(store, (queued.id, attempt), 1)
        jobs.cancel(store, queued.id)
        return idle, "".join([text async for text in log])

    idle, text = asyncio.run(scenario())
    assert idle == ["\r"] * 3
    assert text.lstrip("\r") == job_events.log_line(0, 1, 1.0)
    assert text.splitlines()[-1] == text.strip(), "a reader of lines finds them whole"


def test_who_asks_for_what_will_never_come_is_not_kept_for_ever(store, running, monkeypatch):
    monkeypatch.setattr(job_events, "HEARTBEAT", 0.05)
    jobs.cancel(store, running[0])
    assert asyncio.run(asyncio.wait_for(listen(EventStream(store), running[0], 10**9), 120)) == []


def test_who_follows_a_deleted_job_is_let_go(store, running, monkeypatch):
    monkeypatch.setattr(job_events, "HEARTBEAT", 0.05)

    async def scenario():
        pages = EventStream(store).subscribe(running[0], 10**9, asyncio.Event())
        assert not await anext(pages)
        jobs.cancel(store, running[0])
        store.delete_jobs([running[0]])
        return [page async for page in pages]

    pages = asyncio.run(asyncio.wait_for(scenario(), 120))
    assert [event for page in pages for event in page] == []


def test_a_job_is_over_when_it_has_ended_and_all_was_seen(store, running):
    async def job_is_over(after):
        return await EventStream(store).is_over(running[0], after)

    assert not asyncio.run(job_is_over(10**9))
    jobs.cancel(store, running[0])
    last = store.events(running[0])[-1].number
    assert not asyncio.run(job_is_over(last - 1))
    assert asyncio.run(job_is_over(last))


def test_it_ends_when_the_service_does(store, running):
    async def scenario():
        stop = asyncio.Event()
        task = asyncio.create_task(listen(EventStream(store), running[0], stop=stop))
        await asyncio.sleep(0.1)
        stop.set()
        return await asyncio.wait_for(task, 120)

    assert summarize(asyncio.run(scenario())) == ["queued", "running"]


def test_a_database_that_is_away_is_waited_for(store, running, monkeypatch):
    real, failures = JobStore.events, []

    def failing_events(self, *args, **kw):
        if len(failures) < 3:
            failures.append(1)
            raise NotReady("The database does not answer")
        return real(self, *args, **kw)

    monkeypatch.setattr(JobStore, "events", failing_events)
    jobs.cancel(store, running[0])
    events = asyncio.run(listen(EventStream(store), running[0]))
    assert summarize(events) == ["queued", "running", "cancelled"]


def test_what_was_told_before_the_service_ends_is_given(store, running):
    async def scenario():
        stream, stop = EventStream(store), asyncio.Event()
        await stream.page(running[0], store.events(running[0])[-1].number)
        record_batch(store, running, 1)
        stop.set()
        return await asyncio.wait_for(listen(stream, running[0], stop=stop), 120)

    assert summarize(asyncio.run(scenario())) == ["queued", "running", 1]
