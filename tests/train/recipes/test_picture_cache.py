"""Cache of drawn pictures: hits, damaged files, its bound, and disks that fail."""

import os

import numpy as np
import pytest
import torch

from app.train.recipes.picture_cache import SUFFIX, PictureCache, key_of

PICTURES = {"pixels": np.arange(6, dtype=np.uint8), "labels": np.arange(3)}


@pytest.fixture
def cache(tmp_path):
    return PictureCache(tmp_path / "pictures", max_files=2)


def same(pictures):
    return all(np.array_equal(pictures[name], PICTURES[name]) for name in PICTURES)


def files(cache):
    return sorted(path.stem for path in cache.folder.glob(f"*{SUFFIX}"))


def test_key_names_everything_that_pictures_depend_on(few_digits):
    fewer = few_digits.subset(torch.arange(10))
    keys = [key_of(1, few_digits, 5), key_of(2, few_digits, 5), key_of(1, few_digits, 6)]
    assert len({*keys, key_of(1, fewer, 5)}) == 4
    assert key_of(1, few_digits, 5) == keys[0]


@pytest.mark.parametrize("damage", [lambda old: old[:-1], lambda old: old[:9] + b"?" + old[10:]])
def test_damaged_pictures_are_not_used(cache, damage, caplog):
    cache.store("a", PICTURES)
    path = cache.folder / f"a{SUFFIX}"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load("a") is None
    assert "drawn pictures are damaged" in caplog.text
    cache.store("a", PICTURES)
    assert same(cache.load("a"))


def test_least_recently_used_pictures_and_leftovers_are_deleted(cache):
    for age, key in ((20, "a"), (30, "b")):
        cache.store(key, PICTURES)
        os.utime(cache.folder / f"{key}{SUFFIX}", (age, age))
    old, young = (cache.folder / f".c{SUFFIX}.{name}.tmp" for name in ("old", "young"))
    for leftover in (old, young):
        leftover.touch()
    os.utime(old, (1, 1))
    assert cache.load("a")  # so "b" is now the least recently used one
    cache.store("c", PICTURES)
    assert files(cache) == ["a", "c"]
    assert not old.exists()
    assert young.exists(), "another process may write it"


def test_folder_that_cannot_be_written_costs_no_job(tmp_path, caplog):
    blocked = tmp_path / "pictures"
    blocked.touch()
    cache = PictureCache(blocked)
    cache.store("a", PICTURES)
    assert "drawn pictures could not be stored" in caplog.text
    assert cache.load("a") is None
    assert "drawn pictures could not be read" in caplog.text
