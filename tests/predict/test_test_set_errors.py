import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from app.datasets.catalogue import open_datasets
from app.errors import Conflict, NotFound, NotReady
from app.mnist.files import LabelledImages
from app.predict.live_model import LiveModel
from app.predict.model import Model
from app.predict.test_set_errors import MisclassifiedImages
from app.torch_net import MyNet, weights_of
from app.train.evaluation.evaluate import evaluate
from app.versions.card import DatasetReference, TrainingData
from tests.conftest import DATA

CPU = torch.device("cpu")


@pytest.fixture
def datasets(settings, database):
    return open_datasets(settings, database)


@pytest.fixture
def review(registry, datasets):
    return MisclassifiedImages(LiveModel(registry, "cpu"), DATA, datasets)


def cell(review, version, digit=None, answer=None):
    page, has_more = review.page(version, digit, answer, after=-1, limit=10_000)
    assert not has_more
    return page


@pytest.mark.parametrize("version", [1, 2])
def test_each_cell_holds_as_many_images_as_the_card_counts(registry, review, mnist, version):
    torch.manual_seed(26)  # no image is so even that torch and NumPy may read it differently
    net = MyNet()
    metrics = evaluate(net, mnist, CPU).model_dump()
    registry.save(weights_of(net), registry.card(1).model_copy(update=metrics))
    confusion = registry.card(version).confusion
    for digit in range(10):
        for answer in range(10):
            images = cell(review, version, digit, answer)
            assert len(images) == confusion[digit][answer]
            assert {(image.digit, image.answer) for image in images} <= {(digit, answer)}


def test_what_is_listed_is_what_the_model_answers(registry, review, mnist):
    model = LiveModel(registry, "cpu").get(1)
    for image in cell(review, 1, 4, 9):
        pixels = mnist.test.pixels[image.index]
        assert np.array_equal(image.pixels, pixels.numpy())
        assert int(mnist.test.labels[image.index]) == 4
        (answer,) = model.answer(image.pixels[None])
        assert answer.digit == 9
        assert image.confidence == pytest.approx(answer.probabilities[9], abs=1e-5)


def test_without_a_cell_all_that_is_read_wrong_is_listed(registry, review):
    confusion = np.array(registry.card(1).confusion)
    wrong = confusion - np.diag(np.diag(confusion))
    assert len(cell(review, 1)) == wrong.sum()
    assert len(cell(review, 1, digit=4)) == wrong[4].sum()
    assert len(cell(review, 1, answer=4)) == wrong[:, 4].sum()
    assert all(image.digit != image.answer for image in cell(review, 1))
    assert [image.index for image in cell(review, 1)] == sorted(
        image.index for image in cell(review, 1)
    )


def test_pages_follow_each_other_without_gap_or_overlap(review):
    all_indices = [image.index for image in cell(review, 1, 4, 9)]
    assert len(all_indices) >= 3
    indices, has_more = [], True
    while has_more:
        page, has_more = review.page(1, 4, 9, after=indices[-1] if indices else -1, limit=2)
        assert len(page) == 2 or not has_more
        indices += [image.index for image in page]
    assert indices == all_indices


def test_a_removed_version_is_not_reviewed_any_more(registry, review):
    version = registry.save(weights_of(MyNet()), registry.card(1))
    cell(review, version, 1, 1)
    registry.delete(version)
    with pytest.raises(NotFound):
        cell(review, version, 1, 1)


def test_without_mnist_it_is_not_ready_and_then_it_is(registry, tmp_path, datasets):
    review = MisclassifiedImages(LiveModel(registry, "cpu"), tmp_path, datasets)
    with pytest.raises(NotReady, match="first training"):
        cell(review, 1)
    review.data_dir = DATA
    assert cell(review, 1)


def test_who_asks_at_once_waits_for_one_calculation(review, monkeypatch):
    real, threads = Model.answer, []

    def answer(self, pixels):
        if len(pixels) > 100:
            threads.append(threading.get_ident())
        return real(self, pixels)

    monkeypatch.setattr(Model, "answer", answer)
    with ThreadPoolExecutor(4) as pool:
        lengths = set(pool.map(lambda _: len(cell(review, 1)), range(4)))
    assert len(lengths) == 1
    assert len(threads) == 5
    assert len(set(threads)) == 1


@pytest.fixture
def save_tested_on(registry):
    """Store a version whose card names this data set."""

    def save_tested_on(dataset):
        reference = DatasetReference(
            id=dataset.id, name=dataset.name, digest=dataset.digest or "", images=dataset.images
        )
        data = TrainingData(train=[], test=reference)
        card = registry.card(1).model_copy(update={"data": data})
        return registry.save(registry.weights(1), card)

    return save_tested_on


def test_images_are_those_of_the_data_set_that_the_version_was_tested_on(
    datasets, review, save_tested_on, mnist
):
    pixels, labels = mnist.train.pixels[:50].numpy(), mnist.train.labels[:50].numpy()
    wrong = ((labels + 1) % 10).astype(np.uint8)
    dataset, _ = datasets.add("mine", LabelledImages(pixels, wrong))
    version = save_tested_on(dataset)
    found = cell(review, version)
    assert len(found) > 40
    assert all(np.array_equal(image.pixels, pixels[image.index]) for image in found)
    assert all(image.digit == wrong[image.index] for image in found)
    datasets.delete("mine")
    with pytest.raises(Conflict, match="tested on the data set mine, which was deleted"):
        cell(review, version)


def test_a_version_that_was_tested_on_the_corrections_says_so(datasets, review, save_tested_on):
    version = save_tested_on(datasets.get("corrections"))
    with pytest.raises(Conflict, match="GET /datasets/corrections/images"):
        cell(review, version)
