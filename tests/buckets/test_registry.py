"""Versions in a bucket of a real server, with several processes at work on them."""

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import Conflict, NotFound
from app.startup import StartupError, prepare_registry
from app.torch_net import MyNet, weights_of
from app.versions.bucket.object_store import Bucket, BucketUnavailable
from app.versions.bucket.registry import BucketRegistry
from app.versions.registry import SHIPPED
from tests.buckets.worker import Worker
from tests.service.running import wait_until


def save(registry, card, **changes):
    return registry.save(weights_of(MyNet()), card.model_copy(update=changes))


def test_what_one_service_changes_the_other_sees(first, make_registry, card):
    other = make_registry("other")
    with other.refreshing():
        version = save(first, card, note="mine")
        first.promote(version)
        assert wait_until(lambda: other.current() == version)
        assert other.card(version).note == "mine"
        assert other.content(version) == first.content(version)
        assert other.rollback() == 1
        assert wait_until(lambda: first.current() == version)
        with first.refreshing():
            assert wait_until(lambda: first.current() == 1)


@pytest.mark.usefixtures("all_shipped")
def test_services_that_start_at_once_adopt_each_shipped_version_once(make_registry):
    registries = [make_registry(f"service-{number}") for number in range(6)]

    def start(registry):
        registry.import_bundled()
        registry.promote(1, expected=None)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(start, registries))
    registries[0].import_bundled()  # as at its next start
    shipped = sorted(SHIPPED.glob("*.safetensors"))
    for registry in registries:
        registry.refresh()
        assert registry.versions() == list(range(1, len(shipped) + 1))
        assert registry.history() == [1]


def test_of_many_promotions_over_the_same_version_one_happens(first, make_registry, card):
    versions = [save(first, card) for _ in range(6)]
    others = [make_registry(f"other-{version}") for version in versions]
    with ThreadPoolExecutor(6) as pool:
        done = list(
            pool.map(lambda other, version: other.promote(version, expected=1), others, versions)
        )
    assert sum(done) == 1
    first.refresh()
    assert first.history() == [versions[done.index(True)], 1]


def test_no_number_is_given_twice(first, make_registry, card):
    second = save(first, card)
    other = make_registry("other")
    other.delete(second)
    first.refresh()
    with pytest.raises(NotFound):
        first.card(second)
    assert save(first, card) == second + 1


def test_a_number_that_another_service_takes_first_is_not_given_again(
    first, make_registry, card, monkeypatch
):
    other, numbers = make_registry("other"), []
    claim = other._saved.claim

    def claim_after_another_service(*arguments):
        monkeypatch.undo()
        numbers.append(save(first, card, note="first"))
        return claim(*arguments)

    monkeypatch.setattr(other._saved, "claim", claim_after_another_service)
    numbers.append(save(other, card, note="other"))
    first.refresh()
    assert [first.card(number).note for number in numbers] == ["first", "other"]
    assert [other.card(number).note for number in numbers] == ["first", "other"]


def test_the_live_version_cannot_be_deleted_by_who_has_not_seen_it_go_live(
    first, make_registry, card
):
    other, second = make_registry("other"), save(first, card)
    other.refresh()
    first.promote(second)
    with pytest.raises(Conflict, match=f"Version {second} is live"):
        other.delete(second)


def test_a_removal_that_was_cut_off_is_completed_by_the_next_step(
    first, make_registry, card, monkeypatch
):
    second, third = save(first, card), save(first, card)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Bucket, "empty", lambda *_: sys.exit())
        first.delete(second)
    other = make_registry("other")
    other.refresh()
    assert other.versions() == [1, third]
    other.promote(third)
    assert other.bucket.sizes()[f"{second}.safetensors"] == 0


def test_who_slept_while_many_numbers_were_given_gets_none_of_them(first, card, monkeypatch):
    monkeypatch.setattr("app.versions.bucket.log.MAX_ENTRIES", 3)
    for _ in range(6):
        first.delete(save(first, card))
    assert "2.safetensors" not in first.bucket.sizes(), "it was long ago"
    assert len([name for name in first.bucket.sizes() if name.startswith("current/")]) <= 3 + 1
    assert not first._saved.claim(2, b"late")
    assert "2.safetensors" not in first.bucket.sizes()


def test_what_is_damaged_here_is_fetched_again(first):
    first.file(1).write_bytes(b"damaged")
    first.check(1)
    first.file(1).write_bytes(b"damaged")
    assert first.card(1).version == 1


def test_what_is_damaged_in_the_bucket_neither_goes_live_nor_comes_back(first, make_registry, card):
    second = save(first, card)
    name = f"{second}.safetensors"
    content = first.bucket.read(name)
    first.bucket.filesystem.pipe_file(first.bucket._path(name), content[:-9] + b"*" * 9)
    other = make_registry("other")
    other.refresh()
    with pytest.raises(Conflict, match=f"Version {second} is damaged"):
        other.promote(second)


def test_a_bucket_that_was_emptied_takes_nothing_out_of_service(first):
    first.bucket.remove(first.bucket.sizes())
    fresh_registry = BucketRegistry(
        first.folder, first.bucket
    )  # as a training opens it, or a worker that starts
    for registry in (first, fresh_registry):
        with pytest.raises(BucketUnavailable):
            registry.refresh()
        with pytest.raises(BucketUnavailable):
            save(registry, first.card(1))
    assert first.history() == [1]


def test_a_live_version_that_was_taken_out_of_the_bucket_stays_here(first, card):
    old, live = save(first, card), save(first, card)
    first.promote(live)
    first.bucket.remove([f"{old}.safetensors", f"{live}.safetensors"])
    first.refresh()
    assert (first.versions(), first.current()) == ([1, live], live)


def test_settings_open_it(settings, url, tmp_path):
    settings = settings.model_copy(update={"models_url": url})
    registry = prepare_registry(settings)
    assert isinstance(registry, BucketRegistry)
    assert registry.current() == 1
    assert settings.models_dir.parent == tmp_path / "var" / "mirror"
    assert sorted(registry.bucket.sizes()) == ["1.safetensors", "current/0000000001"]


def test_a_bucket_that_cannot_be_used_stops_the_start_in_words(settings, server):  # noqa: ARG001
    with pytest.raises(StartupError, match=r"MYNET_MODELS_URL=s3://nowhere/x cannot be used: "):
        prepare_registry(settings.model_copy(update={"models_url": "s3://nowhere/x"}))


def test_eight_processes_that_save_and_promote_at_once(first, url, tmp_path):
    workers = [Worker(tmp_path / f"p{number}", url, 3) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        reports = [report for part in pool.map(Worker.reports, workers) for report in part]
    saved = [report[1] for report in reports if report[0] == "saved"]
    assert sorted(saved) == list(range(2, 2 + 8 * 3)), "each number once"
    successors = {report[2]: report[1] for report in reports if report[0] == "promoted"}
    assert len(successors) == 24, "no two over the same version"
    chain = [1]
    while chain[-1] in successors:
        chain.append(successors[chain[-1]])
    first.refresh()
    assert first.history() == chain[::-1], "none was lost"


def test_killed_at_any_moment_it_leaves_the_old_or_the_new(first, make_registry, url, tmp_path):
    for attempt in range(4):
        worker = Worker(tmp_path / "killed", url, 100)
        worker.begin()
        worker.connection.recv()
        time.sleep(random.uniform(0, 0.4))
        worker.kill()
        other = make_registry(f"after-{attempt}")
        other.refresh()
        other.check(other.current())
        assert all(other.content(version) for version in other.versions())

    def agree():
        for registry in (first, other):
            registry.refresh()
        return first.history() == other.history()

    assert wait_until(agree), "the server may carry out the last request after the kill"
    newest = other.versions()[-1]
    version = save(first, first.card(1))
    other.refresh()
    assert version == other.versions()[-1] > newest


def test_checkpoint_recorded_by_one_service_is_recorded_for_all(first, make_registry):
    other = make_registry("other")
    assert other.recorded_checkpoint("0123abcd") is None
    first.record_checkpoint("0123abcd", 7)
    first.record_checkpoint("0123abcd", 8)
    assert other.recorded_checkpoint("0123abcd") == 7
    other.refresh()
    assert other.versions() == first.versions()
