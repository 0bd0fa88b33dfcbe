"""Version files, also with concurrent readers and writers."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from shutil import copy

import pytest
import torch

from app.errors import Conflict, NotFound
from app.torch_net import MyNet, weights_of
from app.versions.checkpoint import IncompatibleWeights
from app.versions.registry import Registry
from app.versions.version_files import LAST


@pytest.fixture
def card(registry):
    return registry.card(1)


def save(registry, card, **changes):
    return registry.save(weights_of(MyNet()), card.model_copy(update=changes))


def test_numbers_go_up_whoever_saves(registry, card):
    others = [Registry(registry.folder) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda other: save(other, card), others * 3))
    assert sorted(numbers) == list(range(2, 14))


def test_no_number_is_given_twice(registry, card):
    assert save(registry, card) == 2
    registry.delete(2)
    assert save(registry, card) == 3
    registry.remove([3])
    registry.remove([])
    assert save(Registry(registry.folder), card) == 4
    assert (registry.folder / LAST).read_text() == "3\n"


def test_a_number_file_that_cannot_be_read_stops_nothing(registry, card):
    (registry.folder / LAST).write_bytes(b"\xff nonsense \xb2 99999999999999999999\n")
    assert save(registry, card) == 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda weights: weights | {"fc4.bias": torch.full((10,), torch.inf)}, "finite"),
        (lambda weights: weights | {"fc4.bias": torch.zeros(11)}, r"shape \(11,\)"),
        (lambda weights: {"fc4.bias": weights["fc4.bias"]}, "its names are"),
    ],
)
def test_what_is_not_mynets_or_not_finite_is_not_stored(registry, card, spoil, message):
    with pytest.raises(IncompatibleWeights, match=message):
        registry.save(spoil(weights_of(MyNet())), card)
    assert registry.versions() == [1]
    assert save(registry, card) == 2


def test_a_card_says_which_version_it_is(registry, card):
    version = save(registry, card, note="mine")
    assert (registry.card(version).version, registry.card(version).note) == (version, "mine")


def test_an_unknown_version_is_not_found(registry):
    for call in (registry.path, registry.card, registry.weights, registry.content):
        with pytest.raises(NotFound, match=r"does not exist\. The newest versions are: 1"):
            call(77)
        with pytest.raises(NotFound):
            call(10**400)


def test_foreign_files_are_passed_over(registry):
    for name in ("backup", "²", "0x1", "9" * 200, "007"):
        copy(registry.path(1), registry.folder / f"{name}.safetensors")
    assert [card.version for card in registry.cards()] == [1]


def test_a_damaged_version_is_told_and_does_not_hide_the_others(registry, card, caplog):
    damaged = save(registry, card)
    registry.path(damaged).write_bytes(b"damaged")
    for call in (registry.card, registry.weights, registry.check):
        with pytest.raises(Conflict, match=f"Version {damaged} is damaged: its file") as excinfo:
            call(damaged)
        assert str(registry.folder) not in str(excinfo.value), "where files lie is not told"
    registry.import_bundled()
    assert damaged not in [stored_card.version for stored_card in registry.cards()]
    assert f"Version {damaged} is damaged" in caplog.text
    assert save(registry, card) == damaged + 1


def test_what_is_removed_while_it_is_read_is_not_found(registry, card, monkeypatch):
    version = save(registry, card)
    real = Registry.path

    def remove_file(self, number):
        path = real(self, number)
        path.unlink()
        return path

    for call in (registry.card, registry.weights, registry.content):
        copy(registry.path(1), registry.file(version))
        with monkeypatch.context() as patch, pytest.raises(NotFound):
            patch.setattr(Registry, "path", remove_file)
            call(version)


BUSY = """
import json, random, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from app.versions import checkpoint
from app.errors import Conflict, NotFound
from app.torch_net import MyNet, weights_of
from app.versions.registry import SHIPPED, Registry

def work(seed):
    registry, chance, saved = Registry(Path(sys.argv[1])), random.Random(seed), []
    card = checkpoint.read_card(SHIPPED / "documented.safetensors")
    for _ in range(8):
        other = card.model_copy(update={"weights_digest": "of another"})
        saved.append(registry.save(weights_of(MyNet()), other))
        for change in (registry.delete, registry.promote):
            try:
                change(chance.choice(registry.versions()))
            except (Conflict, NotFound):
                pass
        registry.prune(5)
    return saved

with ThreadPoolExecutor(3) as pool:
    print(json.dumps(list(pool.map(work, range(3)))))
"""


def busy(registry):
    command = [sys.executable, "-c", BUSY, str(registry.folder)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def test_processes_and_threads_that_save_delete_and_promote_at_once(registry):
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(busy, [registry] * 2))
    numbers = sorted(number for process in results for thread in process for number in thread)
    assert numbers == list(range(2, 2 + 2 * 3 * 8)), "each number once, and none left out"
    registry.check(registry.current())
    assert len(registry.versions()) <= 5 + 3
    assert not list(registry.folder.glob(".*.tmp"))
