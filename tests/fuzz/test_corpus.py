"""What fuzzing found, and what it begins with, again and again."""

import random
import sys

import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz.mutate import LARGEST, mutated
from tests.fuzz.targets import TARGETS

LARGEST_CORPUS = 10**6
BENT = 300


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_all_that_was_found_keep_the_promises(target):
    """As they are, and bent: the first inputs of a run of `make fuzz`."""
    opened, seeds = TARGETS[target]
    whole = seeds() + fuzz.known(target)
    bent = (fuzz.bent(whole, target, 1, number) for number in range(BENT))
    with opened() as check:
        for data in (*whole, *bent):
            check(data)


def test_the_corpus_stays_small():
    files = [path for path in fuzz.CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST_CORPUS


def test_an_input_is_made_again_from_its_seed_and_number():
    assert fuzz._input("form", 7, 3) == fuzz._input("form", 7, 3)
    drawn = {fuzz._input("form", 7, number) for number in range(100)}
    assert len(drawn) > 50
    assert all(len(data) <= LARGEST for data in drawn)
    assert mutated([b""], random.Random(1)) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="fuzzing reads its memory from /proc")
@pytest.mark.parametrize("end", [lambda _: 1 / 0, lambda _: fuzz.os._exit(3)])
def test_what_breaks_a_promise_is_kept(monkeypatch, tmp_path, capfd, end):
    """Also where it ends the process."""

    def check(data):
        if len(data) > 40:
            end(data)

    class Broken:
        __enter__ = staticmethod(lambda: check)
        __exit__ = staticmethod(lambda *_: None)

    monkeypatch.setattr(fuzz, "CORPUS", tmp_path)
    monkeypatch.setitem(TARGETS, "form", (Broken, lambda: [b"short", b"x" * 50]))
    assert fuzz._fuzz("form", 1, 20, 1000, 0) == 1
    (kept,) = fuzz.known("form")
    assert len(kept) > 40
    assert "broke a promise" in capfd.readouterr().out
