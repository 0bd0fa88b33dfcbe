from concurrent.futures import ThreadPoolExecutor

import pytest
import safetensors.torch
import torch

from app.errors import Conflict, NotFound
from app.startup import prepare_registry
from app.torch_net import MyNet, weights_of
from app.versions import checkpoint
from app.versions.registry import COPY, CURRENT, SHIPPED, Registry


@pytest.fixture
def card(registry):
    return registry.card(1)


def save(registry, card, **changes):
    return registry.save(weights_of(MyNet()), card.model_copy(update=changes))


def not_finite(whole):
    """The same file with a weight that is no number."""
    weights = safetensors.torch.load(whole)
    weights["fc4.bias"][3] = torch.nan
    head = 8 + int.from_bytes(whole[:8], "little")
    return whole[:head] + safetensors.torch.save(weights)[-(len(whole) - head) :]


@pytest.mark.usefixtures("all_shipped")
def test_a_fresh_folder_gets_the_shipped_versions_and_the_best_goes_live(settings):
    registry = prepare_registry(settings)
    shipped = sorted(SHIPPED.glob("*.safetensors"))
    assert registry.versions() == list(range(1, len(shipped) + 1))
    best = max(registry.cards(), key=lambda card: card.test_accuracy)
    assert registry.current() == best.version


def test_shipped_versions_are_adopted_once(registry):
    registry.promote(registry.save(registry.weights(1), registry.card(1)))
    versions = registry.versions()
    registry.import_bundled()
    assert (registry.versions(), registry.current()) == (versions, versions[-1])


def test_a_newly_shipped_version_joins_and_does_not_go_live(registry, card, tmp_path, monkeypatch):
    better = card.model_copy(update={"weights_digest": "other", "test_accuracy": 0.999})
    checkpoint.write(tmp_path / "better.safetensors", weights_of(MyNet()), better)
    live = registry.current()
    monkeypatch.setattr("app.versions.registry.SHIPPED", tmp_path)
    registry.import_bundled()
    assert registry.card(registry.versions()[-1]).test_accuracy == 0.999
    assert registry.current() == live


def test_what_a_killed_writer_left_is_removed(registry):
    leftover = registry.folder / ".9.safetensors.abcd.tmp"
    leftover.write_bytes(b"half a version")
    registry.import_bundled()
    assert not leftover.exists()


def test_rollback_goes_back_step_by_step(registry, card):
    second, third = save(registry, card), save(registry, card)
    registry.promote(second)
    registry.promote(third)
    assert registry.rollback() == second
    assert registry.rollback() == 1
    with pytest.raises(Conflict, match="no previous live version"):
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


def test_cards_and_history_version_that_goes_live_meanwhile_is_among_the_cards(
    registry, card, monkeypatch
):
    real = Registry.cards

    def cards_before_a_promotion(self):
        cards = real(self)
        if len(cards) == 1:
            registry.promote(save(registry, card))
        return cards

    monkeypatch.setattr(Registry, "cards", cards_before_a_promotion)
    cards, history = registry.cards_and_history()
    assert ([card.version for card in cards], history) == ([1, 2], [2, 1])


def test_a_removal_between_two_that_are_the_same_makes_them_one_step(registry, card):
    second, third = save(registry, card), save(registry, card)
    for version in (second, third, second):
        registry.promote(version)
    registry.delete(third)
    assert registry.history() == [second, 1]
    assert registry.rollback() == 1


def test_promotion_over_another_happens_only_where_that_one_is_live(registry, card):
    second, third = save(registry, card), save(registry, card)
    assert registry.promote(second, expected=1)
    assert not registry.promote(third, expected=1)
    assert not registry.promote(third, expected=None)
    assert registry.promote(second, expected=1), "it is live already"
    assert registry.history() == [second, 1]


def test_of_many_promotions_over_the_same_version_one_happens(registry, card):
    versions = [save(registry, card) for _ in range(6)]
    others = [Registry(registry.folder) for _ in versions]
    with ThreadPoolExecutor(6) as pool:
        done = list(
            pool.map(lambda other, version: other.promote(version, expected=1), others, versions)
        )
    assert sum(done) == 1
    assert registry.history() == [versions[done.index(True)], 1]


def test_promotion_over_none_is_for_a_folder_where_nothing_is_live(tmp_path, card):
    fresh = Registry(tmp_path / "fresh")
    assert fresh.promote(save(fresh, card), expected=None)
    assert not fresh.promote(save(fresh, card), expected=None)


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda whole: whole[:-9], not_finite])
def test_a_damaged_version_neither_goes_live_nor_comes_back(registry, card, spoil):
    second = save(registry, card)
    registry.promote(second)
    for version in (1, save(registry, card)):
        registry.path(version).write_bytes(spoil(registry.content(version)))
        with pytest.raises(Conflict, match=f"Version {version} is damaged: its file"):
            registry.promote(version)
    with pytest.raises(Conflict, match="Version 1 is damaged"):
        registry.rollback()
    assert registry.history() == [second, 1]


def test_a_rollback_to_another_version_than_expected_is_refused(registry, card):
    registry.promote(save(registry, card))
    with pytest.raises(Conflict, match="Another request changed"):
        registry.rollback(expected=7)
    assert registry.rollback(expected=1) == 1


def test_the_live_version_cannot_be_deleted(registry):
    with pytest.raises(Conflict, match="Version 1 is live"):
        registry.delete(1)
    assert registry.versions() == [1]


def save_with_digests(registry, card, names):
    """Save versions whose weights have these digests."""
    return [save(registry, card, weights_digest=name) for name in names]


def test_pruning_keeps_the_newest_and_what_is_live_was_live_and_is_shipped(registry, card):
    versions = save_with_digests(registry, card, "abcdefgh")
    registry.promote(versions[1])
    registry.promote(versions[2])
    registry.prune(2)
    assert registry.versions() == [1, versions[1], versions[2], versions[6], versions[7]]
    registry.prune(20)
    assert len(registry.versions()) == 5
    registry.rollback()
    registry.prune(1)
    assert registry.versions() == [1, versions[1], versions[7]]
    assert save(registry, card) == versions[7] + 1


def test_pruning_keeps_one_copy_of_what_is_shipped(registry, card):
    live, *copies = save_with_digests(registry, card, ["other", *[card.weights_digest] * 4])
    registry.promote(live)
    registry.promote(save_with_digests(registry, card, ["another"])[0])
    registry.prune(1)
    assert registry.versions() == [1, live, copies[-1], copies[-1] + 1]


def test_pruning_leaves_what_is_damaged_and_tells(registry, card, caplog):
    damaged, _, newest = save_with_digests(registry, card, "abc")
    registry.path(damaged).write_bytes(b"damaged")
    registry.prune(1)
    assert registry.versions() == [1, damaged, newest]
    assert f"Version {damaged} is damaged" in caplog.text


def test_an_unknown_version_is_not_found(registry):
    for call in (registry.promote, registry.delete):
        with pytest.raises(NotFound, match=r"does not exist\. The newest versions are: 1"):
            call(77)


@pytest.mark.parametrize("damaged_content", [None, b"", b"3\n2\n", b"\xff\x00 nonsense", b"77\n"])
def test_a_damaged_current_is_written_anew_by_its_copy(registry, card, damaged_content, caplog):
    for _ in range(2):
        registry.promote(save(registry, card))
    path = registry.folder / CURRENT
    original_content = path.read_bytes()
    path.unlink() if damaged_content is None else path.write_bytes(damaged_content)
    assert registry.history() == [3, 2, 1]
    registry.repair()
    assert path.read_bytes() == original_content
    assert "CURRENT was damaged and restored: version=3" in caplog.text


def test_without_a_copy_what_is_in_memory_is_written(registry):
    for name in (CURRENT, COPY):
        (registry.folder / name).unlink()
    registry.repair()
    assert registry.current() is None, "nothing is known"
    registry.repair(1)
    assert registry.history() == [1]


def test_a_current_that_a_person_wrote_holds(registry, card):
    second = save(registry, card)
    registry.promote(second)
    (registry.folder / CURRENT).write_text("1\n")
    registry.repair()
    assert registry.history() == [1]


def flip_bit(whole):
    return whole[:-5000] + bytes([whole[-5000] ^ 1]) + whole[-4999:]


def test_weights_with_another_digest_are_not_to_be_had(registry, card):
    second = save(registry, card)
    registry.path(second).write_bytes(flip_bit(registry.content(second)))
    for call in (registry.weights, registry.content, registry.check, registry.promote):
        with pytest.raises(Conflict, match=f"Version {second} is damaged: .*digest differs"):
            call(second)
    assert registry.current() == 1
