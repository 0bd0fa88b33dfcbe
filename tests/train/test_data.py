import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from app.train import data
from tests.conftest import DATA


@pytest.fixture
def root(tmp_path):
    """A folder with the archives alone, as in a fresh clone."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in (DATA / "MNIST" / "raw").glob("*.gz"):
        shutil.copy(archive, raw)
    return tmp_path


def test_the_shipped_archives_are_mnist(mnist, root):
    loaded = data.load(root)
    assert loaded.train.pixels.shape == (60_000, 28, 28)
    assert loaded.test.pixels.shape == (10_000, 28, 28)
    assert loaded.train.labels.bincount().tolist()[:3] == [5923, 6742, 5958]
    assert loaded.digest == mnist.digest
    assert not (root / ".unpacking").exists()


def test_an_interrupted_unpacking_is_taken_up_again(mnist, root):
    scratch = root / ".unpacking" / "MNIST" / "raw"
    scratch.mkdir(parents=True)
    (scratch / "train-images-idx3-ubyte").write_bytes(b"half")
    assert data.load(root).digest == mnist.digest


def test_many_may_unpack_at_once(mnist, root):
    with ThreadPoolExecutor(3) as pool:
        digests = {each.digest for each in pool.map(data.load, [root] * 3)}
    assert digests == {mnist.digest}


def test_the_digest_tells_data_apart(mnist, root):
    data.load(root)
    labels = root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[-1] = (content[-1] + 1) % 10
    labels.write_bytes(content)
    assert data.load(root).digest != mnist.digest


def test_broken_data_is_told_and_where(root):
    data.load(root)
    images = root / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:1000])
    with pytest.raises(data.NoData, match="MNIST/raw"):
        data.load(root)


def test_missing_data_that_cannot_be_had_is_told(tmp_path, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    with pytest.raises(data.NoData, match="Error downloading"):
        data.load(tmp_path)


def test_batches_are_normalised_for_mynet(few_digits):
    inputs, labels = next(iter(data.Batches(few_digits, 100, torch.device("cpu"))))
    assert (inputs.shape, inputs.dtype, labels.dtype) == ((100, 784), torch.float32, torch.int64)
    assert (inputs.min().item(), inputs.max().item()) == (-0.5, 0.5)
