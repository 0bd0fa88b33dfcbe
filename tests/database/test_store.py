"""Jobs, events and the lease, in either database."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import event

from app.database.database import Database
from app.database.jobs import JobStore
from app.database.tables import Event, Job, now
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES


def job(name, **fields):
    values = {"status": "queued", "created_at": now(), "not_before": now(), "hyperparameters": {}}
    return Job(id=name, **(values | fields))


def add(store, name, max_queued=100, **fields):
    return store.add_job(
        job(name, **fields), Event(job_id=name, at=now(), kind="x", data={}), max_queued=max_queued
    )


def test_a_job_comes_back_as_it_was_kept(store, settings):
    added = add(store, "a", hyperparameters={"epochs": 3})
    other = JobStore(Database(settings.effective_database_url))
    found = other.job("a")
    other.database.close()
    assert (found.hyperparameters, found.created_at, found.epochs) == (
        {"epochs": 3},
        added.created_at,
        [],
    )
    assert found.created_at.utcoffset() == timedelta(0)


def test_an_idempotency_key_is_kept_once(store):
    first, again = add(store, "a", idempotency_key="k"), add(store, "b", idempotency_key="k")
    assert (first.id, again.id, store.job("b")) == ("a", "a", None)


def test_the_queue_is_bounded_also_for_many_at_once(store):
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda n: add(store, f"j{n}", max_queued=3), range(20)))
    assert len([row for row in added if row]) == 3


def test_jobs_come_newest_first_and_in_pages(store):
    for name in "abcd":
        add(store, name)
    assert [row.id for row in store.jobs(limit=3)] == ["d", "c", "b"]
    assert [row.id for row in store.jobs(before=store.job("b").number)] == ["a"]
    assert [row.id for row in store.jobs("running")] == []


def test_the_next_job_is_the_oldest_that_is_due(store):
    add(store, "later", not_before=now() + timedelta(seconds=50))
    add(store, "first")
    add(store, "second")
    assert store.next_job("queued").id == "first"


def test_a_change_needs_the_state_it_expects(store):
    add(store, "a")
    queued = Job.status == "queued"
    assert store.change_job(
        "a", queued, values={"status": "running"}, events=[("status", {"n": 1})]
    )
    assert not store.change_job("a", queued, values={"status": "x"}, events=[("status", {"n": 2})])
    assert store.job("a").status == "running"
    assert [row.data for row in store.events("a", kind="status")][1:] == []


def test_of_many_writers_one_wins(store):
    add(store, "a")
    with ThreadPoolExecutor(8) as pool:
        wins = list(
            pool.map(
                lambda n: store.change_job(
                    "a", Job.status == "queued", values={"status": "running", "attempt": n}
                ),
                range(16),
            )
        )
    assert wins.count(True) == 1


def test_events_come_in_pages(store):
    add(store, "a")
    for number in range(5):
        store.change_job("a", values={"attempt": number}, events=[("batch", {"n": number})])
    first = store.events("a", kind="batch", limit=3)
    rest = store.events("a", after=first[-1].number, kind="batch")
    assert [row.data["n"] for row in [*first, *rest]] == [0, 1, 2, 3, 4]


def test_the_lease_has_one_holder_until_it_lapses_or_ends(leases):
    assert leases.holder() is None
    assert leases.take("a", 60)
    assert not leases.take("b", 60)
    earlier_lease = leases.get()
    assert leases.take("a", 60)
    assert not leases.take("b", 60, earlier_lease), "it was renewed since"
    assert leases.take("b", 60, leases.get())
    leases.release("a")
    assert leases.holder() == "b"
    leases.release("b")
    assert leases.holder() is None


def test_who_waits_for_the_lease_makes_no_errors_in_the_database(store, leases):
    errors = []
    event.listen(store.database.engine, "handle_error", errors.append)
    assert leases.take("a", 60)
    assert not leases.take("b", 60)
    assert errors == []


def test_the_progress_of_jobs_that_ended_long_ago_is_forgotten(store, monkeypatch):
    old_time, recent_time = now() - timedelta(days=40), now() - timedelta(days=20)
    add(store, "old", finished_at=old_time, status="succeeded")
    add(store, "new", finished_at=recent_time, status="succeeded")
    add(store, "running", created_at=old_time, status="running")
    events = [(kind, {}) for kind in ("status", "batch", "epoch", "result")]
    for name in ("old", "new", "running"):
        store.change_job(name, values={"attempt": 1}, events=events)
    monkeypatch.setattr("app.database.jobs.DELETE_BATCH_SIZE", 1)  # of the two that there are
    assert [store.delete_old_events(now() - timedelta(days=30)) for _ in range(3)] == [
        *(True, True, False)
    ]
    kinds = {
        name: [event.kind for event in store.events(name)] for name in ("old", "new", "running")
    }
    assert kinds["old"] == ["x", "status", "result"]
    assert kinds["new"] == kinds["running"] == ["x", "status", "batch", "epoch", "result"]


def test_a_job_does_not_wait_for_a_clock_that_was_put_back(store):
    add(store, "queued before", not_before=now() + timedelta(hours=5))
    assert store.next_job("queued").id == "queued before"
