from concurrent.futures import ThreadPoolExecutor
from shutil import copy

import pytest

from app import checkpoint
from app.errors import Conflict, NotFound
from app.net import MyNet
from app.registry import CURRENT, SHIPPED, Registry


@pytest.fixture
def card(registry):
    return registry.card(1)


def save(registry, card, **changes):
    return registry.save(MyNet().state_dict(), card.model_copy(update=changes))


def test_a_fresh_folder_gets_the_shipped_versions_and_the_best_goes_live(registry):
    shipped = sorted(SHIPPED.glob("*.safetensors"))
    assert registry.versions() == list(range(1, len(shipped) + 1))
    best = max(registry.cards(), key=lambda card: card.test_accuracy)
    assert registry.current() == best.version


def test_shipped_versions_are_adopted_once(registry):
    registry.promote(registry.save(registry.weights(1), registry.card(1)))
    before = registry.versions()
    registry.adopt_shipped()
    assert (registry.versions(), registry.current()) == (before, before[-1])


def test_a_newly_shipped_version_joins_and_does_not_go_live(registry, card, tmp_path):
    better = card.model_copy(update={"weights_digest": "other", "test_accuracy": 0.999})
    checkpoint.write(tmp_path / "better.safetensors", MyNet().state_dict(), better)
    live = registry.current()
    registry.adopt_shipped(tmp_path)
    assert registry.card(registry.versions()[-1]).test_accuracy == 0.999
    assert registry.current() == live


def test_what_a_killed_writer_left_is_removed(registry):
    leftover = registry.folder / ".9.safetensors.abcd.tmp"
    leftover.write_bytes(b"half a version")
    registry.adopt_shipped()
    assert not leftover.exists()


def test_numbers_go_up_whoever_saves(registry, card):
    others = [Registry(registry.folder) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda other: save(other, card), others * 3))
    first = len(registry.versions()) - 12
    assert sorted(numbers) == list(range(first + 1, first + 13))


def test_a_card_says_which_version_it_is(registry, card):
    version = save(registry, card, note="mine")
    assert (registry.card(version).version, registry.card(version).note) == (version, "mine")


def test_rollback_goes_back_step_by_step(registry, card):
    second, third = save(registry, card), save(registry, card)
    registry.promote(second)
    registry.promote(third)
    assert registry.rollback() == second
    assert registry.rollback() == 1
    with pytest.raises(Conflict, match="No other version"):
        registry.rollback()
    assert registry.current() == 1


def test_promoting_the_live_version_again_is_no_step(registry, card):
    second = save(registry, card)
    registry.promote(second)
    registry.promote(second)
    assert registry.rollback() == 1


def test_rollback_passes_over_versions_that_are_gone(registry, card):
    second, third = save(registry, card), save(registry, card)
    registry.promote(second)
    registry.promote(third)
    registry.path(second).unlink()
    assert registry.rollback() == 1


def test_the_stamp_changes_with_every_promotion(registry, card):
    stamps = {registry.stamp()}
    for _ in range(20):
        registry.promote(save(registry, card))
        stamps.add(registry.stamp())
    assert len(stamps) == 21


def test_current_is_text_that_a_person_reads(registry, card):
    second = save(registry, card)
    registry.promote(second)
    assert (registry.folder / CURRENT).read_text() == f"{second}\n1\n"


def test_an_unknown_version_is_not_found(registry):
    for call in (registry.path, registry.card, registry.weights, registry.promote):
        with pytest.raises(NotFound, match="no such version; the newest are: 1"):
            call(77)
        with pytest.raises(NotFound):
            call(10**400)


def test_foreign_files_are_passed_over(registry):
    copy(registry.path(1), registry.folder / "backup.safetensors")
    assert "backup" not in map(str, registry.versions())


def test_a_damaged_version_is_told_and_does_not_hide_the_others(registry, card, caplog):
    damaged = save(registry, card)
    registry.path(damaged).write_bytes(b"damaged")
    with pytest.raises(Conflict, match=f"Version {damaged} is damaged"):
        registry.card(damaged)
    registry.adopt_shipped()
    assert damaged not in [each.version for each in registry.cards()]
    assert f"Version {damaged} is damaged" in caplog.text
    assert save(registry, card) == damaged + 1
