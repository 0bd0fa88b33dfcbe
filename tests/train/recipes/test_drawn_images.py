"""Images that are drawn when a batch needs them: the same bits in any order, and stored once."""

import numpy as np
import pytest
import torch

from app.train.recipes import drawn_images
from app.train.recipes.augmentation import AugmentedBatches
from app.train.recipes.dataset import no_pixels
from app.train.recipes.drawn_images import Drawing, DrawnImages
from app.train.recipes.picture_cache import PictureCache

CPU = torch.device("cpu")
KINDS = ("SYNTHETIC_DIGITS", "ALLOGRAPHS", "NEGATIVES")
COUNT = 6  # of each kind


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    for name in KINDS:
        monkeypatch.setattr(drawn_images, name, COUNT)


@pytest.fixture
def make_images(few_digits):
    originals = few_digits.subset(torch.arange(10))

    def make_images(drawing=None, seed=3, non_digits=None):
        non_digits = no_pixels() if non_digits is None else non_digits
        return DrawnImages(originals, non_digits, seed, drawing or Drawing())

    return make_images


def content(images):
    return images.pixels.tolist(), images.labels.tolist()


def complete(images):
    images.draw_remaining()
    return content(images)


def test_take_draws_the_missing_images_alone(make_images):
    calls = []
    drawing = Drawing(lambda drawing: calls.append((drawing.drawn, drawing.total)))
    images = make_images(drawing)
    indices = torch.tensor([25, 3, 12, 25])
    batch = images.take(indices)
    assert calls == [(1, 18), (2, 18)], "index 3 is MNIST's, and 25 stands there twice"
    assert torch.equal(batch.pixels[0], batch.pixels[3])
    assert all(batch.pixels.flatten(1).any(1))
    assert torch.equal(images.take(indices).pixels, batch.pixels)
    assert len(calls) == 2


def test_picture_may_be_a_read_only_array(make_images, monkeypatch):
    picture = np.full((28, 28), 7, np.uint8)
    picture.flags.writeable = False
    monkeypatch.setattr(drawn_images, "draw_negative", lambda *_: picture)
    assert make_images().take(torch.tensor([27])).pixels.unique() == 7


def test_images_have_the_same_bits_in_whatever_order_they_are_drawn(make_images):
    expected = complete(make_images())
    images = make_images()
    for index in (27, 10, 21, 16):
        images.take(torch.tensor([index]))
    assert complete(images) == expected
    assert complete(make_images(seed=4)) != expected


def test_images_are_originals_then_drawn_digits_then_those_without_a_digit(make_images):
    crosses = torch.full((2, 28, 28), 9, dtype=torch.uint8)
    images = make_images(non_digits=crosses)
    images.draw_remaining()
    assert (images.digits, len(images)) == (10 + 2 * COUNT, 10 + 3 * COUNT + 2)
    assert torch.equal(images.pixels[:10], images.originals.pixels)
    assert torch.equal(images.labels[:10], images.originals.labels)
    assert torch.equal(images.pixels[-2:], crosses)
    assert not images.labels[images.digits :].any()


def test_second_training_reads_the_pictures_of_the_first(make_images, tmp_path):
    cache, drawn = PictureCache(tmp_path), []
    expected = complete(make_images())
    first = make_images(Drawing(lambda _: drawn.append(1), cache))
    first.take(torch.arange(15))
    assert not list(tmp_path.iterdir()), "a few pictures are not worth a write"
    assert complete(first) == expected
    assert len(drawn) == 3 * COUNT
    second = Drawing(lambda _: drawn.append(1), cache)
    assert content(make_images(second)) == expected, "it has all from the start"
    assert complete(make_images(second)) == expected
    assert len(drawn) == 3 * COUNT
    assert (second.total, second.remaining_seconds) == (0, 0)
    assert complete(make_images(Drawing(cache=cache), seed=4)) != expected


def test_killed_training_loses_few_pictures(make_images, tmp_path, monkeypatch):
    monkeypatch.setattr(drawn_images, "STORE_INTERVAL", 0.0)
    cache = PictureCache(tmp_path)
    expected = complete(make_images())

    def kill_at_the_third(drawing):
        if drawing.drawn == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_images(Drawing(kill_at_the_third, cache)).draw_remaining()
    drawing = Drawing(cache=cache)
    images = make_images(drawing)
    assert drawing.total == 3 * COUNT - 3
    assert complete(images) == expected
    assert drawing.drawn == drawing.total
    assert content(make_images(Drawing(cache=cache))) == expected


def test_first_epoch_draws_what_its_batches_need_and_the_second_the_rest(make_images, monkeypatch):
    monkeypatch.setattr(drawn_images, "NEGATIVES", 20)
    drawing = Drawing()
    images = make_images(drawing)
    torch.manual_seed(1)
    batches = AugmentedBatches(images, 10, CPU)
    epoch = iter(batches)
    next(epoch)
    assert drawing.drawn < 13, "ten digits, and three images without one"
    list(epoch)
    assert 2 * COUNT < drawing.drawn <= 2 * COUNT + 9, "three batches with three images without one"
    next(iter(batches))
    assert drawing.drawn == drawing.total == 2 * COUNT + 20


def test_pictures_of_the_only_epoch_are_stored(make_images, tmp_path):
    cache, drawing = PictureCache(tmp_path), Drawing()
    list(AugmentedBatches(make_images(Drawing(cache=cache)), 10, CPU))
    make_images(drawing)
    later = Drawing(cache=cache)
    make_images(later)
    assert later.total <= drawing.total - 2 * COUNT, "it has all digits"


def test_remaining_seconds_follow_from_the_time_of_those_so_far():
    assert Drawing(drawn=3, total=5, seconds=6.0).remaining_seconds == 4.0
    assert Drawing(total=5).remaining_seconds == 0
