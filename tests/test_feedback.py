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


def test_name_without_a_digit_says_so(feedback, digits):
    correction, is_new = feedback.add(digits[0], None, "some-id_1")
    assert (correction.label, correction.is_digit, is_new) == (None, False, True)
    assert "-not_a_digit-" in correction.name and pngs(feedback) == [correction.name]
    assert Correction.from_filename(correction.name) == correction
    assert feedback.add(digits[0], None) == (correction, False)
    for wrong in ("none", "10", "", "NOT_A_DIGIT"):
        assert Correction.from_filename(correction.name.replace("not_a_digit", wrong)) is None


def test_label_becomes_no_digit_and_back(feedback, digits):
    first, _ = feedback.add(digits[0], 7)
    with pytest.raises(Conflict, match=r"has the label 7 already.*to change it to no digit\.$"):
        feedback.add(digits[0], None)
    feedback.add(digits[0], None, replace=True)
    assert ids_and_labels(feedback) == [(first.id, None)] and len(pngs(feedback)) == 1
    with pytest.raises(Conflict, match=r"is stored as no digit already.*to change it to 0\.$"):
        feedback.add(digits[0], 0)
    feedback.add(digits[0], 0, replace=True)
    assert ids_and_labels(feedback) == [(first.id, 0)] and len(pngs(feedback)) == 1
    feedback.add(digits[0], None, replace=True)
    feedback.delete(first.id)
    assert ids_and_labels(feedback) == pngs(feedback) == []


def test_replacement_has_the_prediction_of_before_unless_it_has_its_own(feedback, digits):
    def replace(label, prediction_id=None):
        correction, is_new = feedback.add(digits[0], label, prediction_id, replace=True)
        assert not is_new and feedback.all() == [correction]
        return correction.prediction_id

    feedback.add(digits[0], 7, "first")
    assert [replace(9), replace(None), replace(7)] == ["first"] * 3
    assert [replace(1, "second"), replace(7)] == ["second"] * 2


def test_page_selects_what_shows_a_digit(feedback, digits):
    for label, image in zip((0, None, 3, None), digits, strict=True):
        feedback.add(image, label)

    def labels(**selection):
        return [correction.label for correction in feedback.page(None, 9, **selection)[0]]

    assert labels() == [None, 3, None, 0]
    assert labels(is_digit=False) == [None, None]
    assert labels(is_digit=True) == [3, 0]
    assert labels(label=3, is_digit=True) == [3] and labels(label=3, is_digit=False) == []
    assert feedback.page(None, 1, is_digit=False)[1] is True
    assert feedback.count(None, non_digits=True) == 4
    assert feedback.count(None, non_digits=False) == 2


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
