"""Data sets, by both clients against the real service."""

import pytest

from mynet_client import ApiError
from tests.conftest import png
from tests.datasets.uploads import npz


def test_data_sets_are_uploaded_listed_trained_with_and_deleted(mynet, tmp_path, digits):
    for label, name in ((7, "a.png"), (3, "b.png")):
        (tmp_path / str(label)).mkdir()
        (tmp_path / str(label) / name).write_bytes(png(digits[0]))
    stored = mynet.upload_dataset(tmp_path, "mine")
    assert (stored.images, stored.labels["7"], stored.suspect[0].digit) == (2, 1, 7)
    assert mynet.upload_dataset(tmp_path, "mine") == stored == mynet.dataset("mine")
    turned = npz(images=digits.transpose(0, 2, 1), labels=[7, 2, 1, 0])
    assert mynet.upload_dataset(turned, "turned", transposed=True).suspect == []
    assert [entry.name for entry in mynet.datasets(after=stored).data] == ["turned"]
    (image,) = mynet.dataset_images(stored, label=7).data
    assert mynet.dataset_images("mine", after=image).data == []
    job = mynet.train(datasets=["mine"], test_dataset="turned")
    assert mynet.cancel(job).hyperparameters["datasets"] == [stored.id]
    mynet.delete_dataset(stored)
    mynet.delete_dataset("turned")
    with pytest.raises(ApiError) as error:
        mynet.dataset(stored)
    assert error.value.status == 404
