"""Cache of drawn pictures: hits, damaged files, its bound, and disks that fail."""

import os

import numpy as np
import pytest
import torch

from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import recipes
from app.train.recipes.picture_cache import SUFFIX, Drawing, PictureCache, key_of

CPU = torch.device("cpu")
PICTURES = {"pixels": np.arange(6, dtype=np.uint8), "labels": np.arange(3)}


@pytest.fixture
def cache(tmp_path):
    return PictureCache(tmp_path / "pictures", max_files=2)


def refuse():
    raise AssertionError("it is in the cache")


def same(pictures):
    return all(np.array_equal(pictures[name], PICTURES[name]) for name in PICTURES)


def files(cache):
    return sorted(path.stem for path in cache.folder.glob(f"*{SUFFIX}"))


def test_cached_recipe_has_the_very_same_pictures_and_random_state(cache, few_digits, monkeypatch):
    for name in ("SYNTHETIC_DIGITS", "ALLOGRAPHS", "NEGATIVES"):
        monkeypatch.setattr(recipes, name, 5)
    drawn = []
    drawing = Drawing(lambda *count: drawn.append(count), cache)

    def set_up(drawing, seed):
        torch.manual_seed(seed)
        hyperparameters = Hyperparameters(recipe="robust", epochs=2)
        setup = recipes.robust(hyperparameters, few_digits, CPU, drawing=drawing)
        batches = setup.batches
        tensors = batches.pixels, batches.targets, batches.negatives, torch.get_rng_state()
        return [tensor.tolist() for tensor in tensors]

    expected = set_up(Drawing(), 3)
    assert set_up(drawing, 3) == expected
    assert len(drawn) == 15
    assert set_up(drawing, 3) == expected
    assert len(drawn) == 15, "the second set-up draws nothing"
    assert set_up(drawing, 4) != expected
    assert len(drawn) == 30, "another seed has other pictures"


def test_key_names_everything_that_pictures_depend_on(few_digits):
    fewer = few_digits.subset(torch.arange(10))
    keys = [key_of(1, few_digits, 5), key_of(2, few_digits, 5), key_of(1, few_digits, 6)]
    assert len({*keys, key_of(1, fewer, 5)}) == 4
    assert key_of(1, few_digits, 5) == keys[0]


@pytest.mark.parametrize("damage", [lambda old: old[:-1], lambda old: old[:9] + b"?" + old[10:]])
def test_damaged_pictures_are_drawn_again(cache, damage, caplog):
    cache.get_or_draw("a", lambda: PICTURES)
    path = cache.folder / f"a{SUFFIX}"
    path.write_bytes(damage(path.read_bytes()))
    assert same(cache.get_or_draw("a", lambda: PICTURES))
    assert "drawn pictures are damaged" in caplog.text
    assert same(cache.get_or_draw("a", refuse))


def test_least_recently_used_pictures_and_leftovers_are_deleted(cache):
    for age, key in ((30, "a"), (20, "b")):
        cache.get_or_draw(key, lambda: PICTURES)
        os.utime(cache.folder / f"{key}{SUFFIX}", (age, age))
    old, young = (cache.folder / f".c{SUFFIX}.{name}.tmp" for name in ("old", "young"))
    for leftover in (old, young):
        leftover.touch()
    os.utime(old, (1, 1))
    cache.get_or_draw("b", refuse)  # "a" is now the least recently used one
    cache.get_or_draw("c", lambda: PICTURES)
    assert files(cache) == ["b", "c"]
    assert not old.exists()
    assert young.exists(), "another process may write it"


def test_folder_that_cannot_be_written_costs_no_job(tmp_path, caplog):
    blocked = tmp_path / "pictures"
    blocked.touch()
    assert same(PictureCache(blocked).get_or_draw("a", lambda: PICTURES))
    assert "drawn pictures could not be stored" in caplog.text
