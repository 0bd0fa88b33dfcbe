"""Corrections on disk: stored completely or not at all, despite kills and concurrent writers."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from app import atomic_files
from app import feedback as corrections
from app.errors import Conflict
from app.feedback import Correction, FeedbackStore, digest


@pytest.fixture
def feedback(tmp_path):
    return FeedbackStore(tmp_path / "feedback", 100)


def ids_and_labels(feedback):
    return [(correction.id, correction.label) for correction in feedback.all()]


def pngs(feedback):
    return sorted(path.name for path in feedback.folder.iterdir() if path.name != ".lock")


def test_a_name_holds_all_that_is_known(feedback, digits):
    correction, _ = feedback.add(digits[0], 7, "some-id_1")
    assert pngs(feedback) == [correction.name]
    assert Correction.from_filename(correction.name) == correction
    assert Correction.from_filename("note.txt") is None
    assert correction.prediction_id == "some-id_1"
    assert feedback.add(digits[1], 2)[0].prediction_id is None
    assert np.array_equal(Image.open(feedback.folder / correction.name), digits[0])


def test_ids_are_of_pixels_and_their_form(digits):
    ids = [digest(image) for image in (*digits, digits[0].reshape(14, 56))]
    assert len(set(ids)) == len(ids)
    assert digest(digits[0].copy()) == ids[0]
    assert digest(np.asfortranarray(digits[0])) == ids[0]


def test_times_only_grow(feedback, digits, monkeypatch):
    first, _ = feedback.add(digits[0], 7)
    with monkeypatch.context() as patch:
        later = Correction("20991231T235959999999Z", 1, "0" * 32, None)
        (feedback.folder / first.name).rename(feedback.folder / later.name)
        for digit in digits[1:]:
            feedback.add(digit, 1)
        patch.undo()
    times = [correction.time for correction in feedback.all()]
    assert all(newer > older for newer, older in pairwise(times)) and len(times) == 4
    assert times[-1] == later.time


class Killed(BaseException):
    """The process ends here."""


def raise_killed(*_, **__):
    raise Killed


@pytest.mark.parametrize(
    ("owner", "attribute", "label"),
    [("PIL.Image.Image", "save", 1), ("pathlib.Path", "replace", 1), (atomic_files, "remove", 7)],
)
def test_a_replacement_that_is_cut_short_is_there_or_not(
    feedback, digits, monkeypatch, owner, attribute, label
):
    first, _ = feedback.add(digits[0], 1)
    with monkeypatch.context() as patch:
        target = f"{owner}.{attribute}" if isinstance(owner, str) else (owner, attribute)
        patch.setattr(*([target] if isinstance(target, str) else target), raise_killed)
        with pytest.raises(Killed):
            feedback.add(digits[0], 7, replace=True)
    assert ids_and_labels(feedback) == [(first.id, label)]
    reopened = FeedbackStore(feedback.folder, 100)
    reopened.clean_up()
    assert ids_and_labels(reopened) == [(first.id, label)] and len(pngs(reopened)) == 1
    reopened.add(digits[0], 7, replace=True)
    assert ids_and_labels(reopened) == [(first.id, 7)] and len(pngs(reopened)) == 1
    reopened.delete(first.id)
    assert ids_and_labels(reopened) == pngs(reopened) == []


def test_what_broken_writers_left_goes_with_the_next_start(feedback, digits):
    feedback.add(digits[0], 7)
    (feedback.folder / ".x.png.00.tmp").write_bytes(b"half")
    (feedback.folder / "README").write_bytes(b"a person's")
    feedback.clean_up()
    assert len(pngs(feedback)) == 2 and "README" in pngs(feedback)


def _add(folder, label, gate):
    gate.wait()
    image = np.full((28, 28), 9, np.uint8)
    try:
        return FeedbackStore(folder, 100).add(image, label)[1]
    except Conflict:
        return None


def test_processes_keep_an_image_once(feedback):
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(4) as pool:
        gate = manager.Barrier(4)
        same = pool.starmap(_add, [(feedback.folder, 7, gate)] * 4)
    assert sorted(same) == [False, False, False, True]
    assert len(ids_and_labels(feedback)) == 1


def test_no_more_are_kept_than_may_be(tmp_path, digits):
    small_store = FeedbackStore(tmp_path, 2)

    def add(image):
        try:
            return small_store.add(image, 1)[1]
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(add, digits), key=str) == [None, None, True, True]
    assert len(small_store.all()) == 2


def test_the_module_names_nothing_that_a_path_could_escape(feedback):
    for invalid_id in ("*", "..", "../x", "", "x" * 500):
        with pytest.raises(corrections.NotFound):
            feedback.delete(invalid_id)
