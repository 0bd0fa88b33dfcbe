"""Replay of the fuzzing corpus and of the seed inputs."""

import random
import sys

import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz.mutate import MAX_BYTES, mutate
from tests.fuzz.targets import TARGETS

MAX_CORPUS_BYTES = 10**6
MUTANTS = 300


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_all_that_was_found_keep_the_promises(target):
    """Run the seeds unchanged and mutated: the first inputs of a run of `make fuzz`."""
    open_target, seeds = TARGETS[target]
    inputs = seeds() + fuzz.corpus_inputs(target)
    mutants = (fuzz.draw_input(inputs, target, 1, number) for number in range(MUTANTS))
    with open_target() as check:
        for data in (*inputs, *mutants):
            check(data)


def test_the_corpus_stays_small():
    files = [path for path in fuzz.CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_CORPUS_BYTES


def test_an_input_is_made_again_from_its_seed_and_number():
    assert fuzz._input("form", 7, 3) == fuzz._input("form", 7, 3)
    inputs = {fuzz._input("form", 7, number) for number in range(100)}
    assert len(inputs) > 50
    assert all(len(data) <= MAX_BYTES for data in inputs)
    assert mutate([b""], random.Random(1)) is not None


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
    assert fuzz._fuzz("form", 1, 120, 1000, 0) == 1
    (saved_input,) = fuzz.corpus_inputs("form")
    assert len(saved_input) > 40
    assert "broke a promise" in capfd.readouterr().out
