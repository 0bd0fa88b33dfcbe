"""Events as they come: in order, whole, shared by those who are as far, until the job has ended."""

import asyncio
from collections import Counter

import pytest

from app.database.store import Store
from app.errors import NotReady
from app.train.jobs import events as feeds
from app.train.jobs import job as jobs
from app.train.jobs.events import EventStream
from app.train.jobs.hyperparameters import Hyperparameters


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(feeds, "POLL", 0.02)


@pytest.fixture
def running(store):
    """A job's id and its attempt."""
    job = jobs.create(store, Hyperparameters(), max_queued=9, key=None)
    return job.id, jobs.start(store, job)


def tell(store, running, batch):
    told = {"epoch": 0, "batch": batch, "loss": 1.0}
    jobs.record(store, *running, "batch", told, progress=None)


def told(events):
    return [event.data.get("status") or event.data["batch"] for event in events]


async def listen(feed, job_id, after=0, until=None, delay=0.0):
    events = []
    async for page in feed.follow(job_id, after, until or asyncio.Event()):
        events += page
        await asyncio.sleep(delay)
    return events


def test_a_listener_gets_all_until_the_job_ends(store, running):
    async def scenario():
        listening = asyncio.create_task(listen(EventStream(store), running[0]))
        for batch in range(5):
            await asyncio.sleep(0.03)
            await asyncio.to_thread(tell, store, running, batch)
        jobs.cancel(store, running[0])
        return await asyncio.wait_for(listening, 30)

    events = asyncio.run(scenario())
    assert told(events) == ["queued", "running", 0, 1, 2, 3, 4, "cancelled"]
    assert [event.number for event in events] == sorted({event.number for event in events})


def test_a_database_that_is_away_at_a_heartbeat_ends_no_listener(store, running, monkeypatch):
    def away(*_, **__):
        raise NotReady("The database does not answer.")

    async def scenario():
        pages = EventStream(store).subscribe(running[0], 0, asyncio.Event())
        first = await anext(pages)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "events", away)
            patch.setattr(Store, "job", away)
            quiet = await anext(pages)
        jobs.cancel(store, running[0])
        return [told(page) for page in (first, quiet)], [told(page) async for page in pages]

    monkeypatch.setattr(feeds, "HEARTBEAT", 0.1)
    begun, ended = asyncio.run(scenario())
    assert begun == [["queued", "running"], []]
    assert ended[-1] == ["cancelled"]


def test_it_goes_on_after_the_last_one_seen(store, running):
    tell(store, running, 1)
    last = store.events(running[0])[-1].number
    tell(store, running, 2)
    jobs.cancel(store, running[0])
    assert told(asyncio.run(listen(EventStream(store), running[0], last))) == [2, "cancelled"]


def test_a_long_past_comes_in_pages(store, running, monkeypatch):
    monkeypatch.setattr(feeds, "PAGE", 2)
    for batch in range(5):
        tell(store, running, batch)
    jobs.cancel(store, running[0])
    events = asyncio.run(listen(EventStream(store), running[0]))
    assert told(events) == ["queued", "running", 0, 1, 2, 3, 4, "cancelled"]


def test_other_jobs_are_not_heard(store, running):
    other = jobs.create(store, Hyperparameters(), max_queued=9, key=None).id
    tell(store, running, 1)
    jobs.cancel(store, other)
    assert told(asyncio.run(listen(EventStream(store), other))) == ["queued", "cancelled"]


def test_listeners_share_their_looks_and_a_slow_one_delays_nobody(store, running, monkeypatch):
    looks, real = Counter(), Store.events

    def counted(self, job_id, after=0, *args, **kw):
        looks[after] += 1
        return real(self, job_id, after, *args, **kw)

    monkeypatch.setattr(Store, "events", counted)
    monkeypatch.setattr(feeds, "POLL", 0.2)

    async def scenario():
        feed = EventStream(store)
        slow = asyncio.create_task(listen(feed, running[0], delay=0.5))
        quick = [asyncio.create_task(listen(feed, running[0])) for _ in range(50)]
        await asyncio.sleep(0.1)
        tell(store, running, 1)
        await asyncio.sleep(0.3)
        jobs.cancel(store, running[0])
        heard = await asyncio.gather(*quick)
        assert not slow.done()
        return [*heard, await slow]

    heard = asyncio.run(scenario())
    assert len({tuple(told(events)) for events in heard}) == 1
    assert sum(looks.values()) < 51, "fifty listeners cost no more than a few"


def test_who_leaves_takes_nothing_from_the_others(store, running, monkeypatch):
    monkeypatch.setattr(feeds, "POLL", 30)

    async def scenario():
        feed = EventStream(store)
        leaving = asyncio.create_task(feed.page(running[0], 0))
        staying = asyncio.create_task(feed.page(running[0], 0))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert told(asyncio.run(scenario())) == ["queued", "running"]


def test_silence_is_told_now_and_then(store, running, monkeypatch):
    monkeypatch.setattr(feeds, "HEARTBEAT", 0.05)

    async def scenario():
        pages = EventStream(store).subscribe(running[0], 0, asyncio.Event())
        return [await anext(pages) for _ in range(3)]

    first, *silence = asyncio.run(scenario())
    assert told(first) == ["queued", "running"]
    assert [list(page) for page in silence] == [[], []]


def test_who_asks_for_what_will_never_come_is_not_kept_for_ever(store, running, monkeypatch):
    monkeypatch.setattr(feeds, "HEARTBEAT", 0.05)
    jobs.cancel(store, running[0])
    assert asyncio.run(asyncio.wait_for(listen(EventStream(store), running[0], 10**9), 30)) == []


def test_a_job_is_over_when_it_has_ended_and_all_was_seen(store, running):
    async def over(after):
        return await EventStream(store).is_over(running[0], after)

    assert not asyncio.run(over(10**9))
    jobs.cancel(store, running[0])
    last = store.events(running[0])[-1].number
    assert not asyncio.run(over(last - 1))
    assert asyncio.run(over(last))


def test_it_ends_when_the_service_does(store, running):
    async def scenario():
        until = asyncio.Event()
        listening = asyncio.create_task(listen(EventStream(store), running[0], until=until))
        await asyncio.sleep(0.1)
        until.set()
        return await asyncio.wait_for(listening, 30)

    assert told(asyncio.run(scenario())) == ["queued", "running"]


def test_a_database_that_is_away_is_waited_for(store, running, monkeypatch):
    real, away = Store.events, []

    def broken(self, *args, **kw):
        if len(away) < 3:
            away.append(1)
            raise NotReady("The database does not answer")
        return real(self, *args, **kw)

    monkeypatch.setattr(Store, "events", broken)
    jobs.cancel(store, running[0])
    events = asyncio.run(listen(EventStream(store), running[0]))
    assert told(events) == ["queued", "running", "cancelled"]


def test_what_was_told_before_the_service_ends_is_given(store, running):
    async def scenario():
        feed, until = EventStream(store), asyncio.Event()
        await feed.page(running[0], store.events(running[0])[-1].number)
        tell(store, running, 1)
        until.set()
        return await asyncio.wait_for(listen(feed, running[0], until=until), 30)

    assert told(asyncio.run(scenario())) == ["queued", "running", 1]
