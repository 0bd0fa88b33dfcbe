import gzip
import math
import os
import re
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from app.mnist.dataset import DatasetUnavailable
from app.train.recipes import dataset
from tests.conftest import DATA
from tests.durability import assert_durable_file, assert_durable_folders, record_calls


@pytest.fixture
def root(tmp_path):
    """A folder with the archives alone, as in a fresh clone."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in (DATA / "MNIST" / "raw").glob("*.gz"):
        shutil.copy(archive, raw)
    return tmp_path


def test_the_shipped_archives_are_mnist(mnist, root):
    loaded = dataset.load(root)
    assert loaded.train.pixels.shape == (60_000, 28, 28)
    assert loaded.test.pixels.shape == (10_000, 28, 28)
    assert loaded.train.labels.bincount().tolist()[:3] == [5923, 6742, 5958]
    assert loaded.digest == mnist.digest


def test_archives_are_read_as_they_are_if_the_folder_cannot_be_written(mnist, root, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    loaded = dataset.load(root)
    assert loaded.digest == mnist.digest
    assert {path.suffix for path in (root / "MNIST" / "raw").iterdir()} == {".gz"}


def test_many_may_unpack_at_once(mnist, root):
    with ThreadPoolExecutor(3) as pool:
        digests = {loaded.digest for loaded in pool.map(dataset.load, [root] * 3)}
    assert digests == {mnist.digest}


def idx(*shape):
    """An IDX file of bytes that differ."""
    header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    return header + bytes(position % 251 for position in range(math.prod(shape)))


CONTENTS = {
    "train-images-idx3-ubyte": idx(20, 28, 28),
    "train-labels-idx1-ubyte": idx(20),
    "t10k-images-idx3-ubyte": idx(10, 28, 28),
    "t10k-labels-idx1-ubyte": idx(10),
}


@pytest.fixture
def raw(tmp_path):
    """A small data set, unpacked beside its archives."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (raw / name).write_bytes(content)
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    return raw


@pytest.fixture
def downloads(monkeypatch):
    """The files that were downloaded, from a mirror that has the small data set."""
    from torchvision.datasets import MNIST  # here, since it takes seconds to import

    archives = []

    def download_url(url, folder, filename, md5):
        archive = url.removeprefix("https://mirror/")
        assert (archive, md5) in MNIST.resources
        (Path(folder) / filename).write_bytes(gzip.compress(CONTENTS[archive.removesuffix(".gz")]))
        archives.append(archive)

    monkeypatch.setattr(MNIST, "mirrors", ["https://mirror/"])
    monkeypatch.setattr("torchvision.datasets.utils.download_url", download_url)
    return archives


@pytest.fixture
def no_network(monkeypatch):
    def download_url(*_args):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download_url)


def pixels_of(name):
    return list(CONTENTS[name][-784:])


@pytest.mark.usefixtures("raw")
def test_load_reads_what_the_files_hold(tmp_path):
    loaded = dataset.load(tmp_path)
    assert (loaded.train.pixels.shape, len(loaded.train)) == ((20, 28, 28), 20)
    assert loaded.train.pixels[-1].flatten().tolist() == pixels_of("train-images-idx3-ubyte")
    assert loaded.test.pixels[-1].flatten().tolist() == pixels_of("t10k-images-idx3-ubyte")
    assert loaded.test.labels.tolist() == list(CONTENTS["t10k-labels-idx1-ubyte"][8:])
    assert (loaded.train.pixels.dtype, loaded.train.labels.dtype) == (torch.uint8, torch.int64)


DAMAGE = {
    "truncated": lambda content: content[:-5],
    "empty": lambda _: b"",
    "cut in the header": lambda content: content[:6],
    "zeros": lambda content: bytes(len(content)),
    "zeros after the header": lambda content: content[:16] + bytes(len(content[16:])),
    "one bit": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "too long": lambda content: content + b"x",
    "of another shape": lambda _: idx(20, 14, 14),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.usefixtures("no_network")
def test_load_of_a_damaged_file_unpacks_it_again(tmp_path, raw, name, damage):
    expected_digest = dataset.load(tmp_path).digest
    (raw / name).write_bytes(damage(CONTENTS[name]))
    assert dataset.load(tmp_path).digest == expected_digest
    assert (raw / name).read_bytes() == CONTENTS[name]


@pytest.mark.usefixtures("no_network")
def test_load_of_four_damaged_files_unpacks_them_again(tmp_path, raw, caplog):
    """As after a power cut during the first training: the files exist, but are empty."""
    expected_digest = dataset.load(tmp_path).digest
    for name in CONTENTS:
        (raw / name).write_bytes(b"")
    assert dataset.load(tmp_path).digest == expected_digest
    messages = [record.message for record in caplog.records if record.name == "app.mnist.dataset"]
    logged_files = [re.search(r"file=(\S+)", message)[1] for message in messages]
    assert logged_files == [*CONTENTS]


def test_load_unpacks_and_downloads_durably(tmp_path, downloads):
    with record_calls() as calls:
        dataset.load(tmp_path / "data")
    raw = tmp_path / "data" / "MNIST" / "raw"
    assert downloads == [f"{name}.gz" for name in CONTENTS]
    assert_durable_folders(calls, raw, raw.parent, raw.parent.parent)
    for name in CONTENTS:
        assert_durable_file(calls, raw / f"{name}.gz")
        assert_durable_file(calls, raw / name)
    assert sorted(path.name for path in raw.iterdir()) == sorted([*CONTENTS, *downloads])


@pytest.mark.parametrize("archive", [None, b"", b"no archive", gzip.compress(b"x", mtime=0)[:-1]])
@pytest.mark.parametrize("file", [None, b"", b"damaged"])
def test_load_without_file_and_archive_downloads_that_one(tmp_path, raw, downloads, archive, file):
    name = "t10k-labels-idx1-ubyte"
    for path, content in ((raw / name, file), (raw / f"{name}.gz", archive)):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    loaded = dataset.load(tmp_path)
    assert loaded.test.labels.tolist() == list(CONTENTS[name][8:])
    assert downloads == [f"{name}.gz"]


@pytest.mark.parametrize("archive", [b"", b"no archive, at all", gzip.compress(b"no IDX", mtime=0)])
@pytest.mark.usefixtures("no_network")
def test_load_with_a_damaged_archive_takes_the_whole_file(tmp_path, raw, archive):
    for name in CONTENTS:
        (raw / f"{name}.gz").write_bytes(archive)
    assert len(dataset.load(tmp_path).train) == 20


@pytest.mark.usefixtures("raw")
def test_load_of_whole_files_writes_nothing(tmp_path):
    def state():
        return {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))}

    initial_state = state()
    with record_calls() as calls:
        dataset.load(tmp_path)
    assert calls == []
    assert state() == initial_state


@pytest.mark.usefixtures("no_network")
def test_load_sweeps_what_a_killed_process_left(tmp_path, raw):
    name = "train-images-idx3-ubyte"
    (raw / name).unlink()
    leftover = raw / f".{name}.ab12.tmp"
    leftover.write_bytes(b"half")
    assert len(dataset.load(tmp_path).train) == 20
    assert not leftover.exists()


def test_the_digest_tells_data_apart(tmp_path, raw):
    original_digest = dataset.load(tmp_path).digest
    name = "t10k-labels-idx1-ubyte"
    (raw / f"{name}.gz").unlink()
    last = CONTENTS[name][-1]
    (raw / name).write_bytes(CONTENTS[name][:-1] + bytes([last ^ 1]))
    assert dataset.load(tmp_path).digest != original_digest


@pytest.mark.usefixtures("no_network")
def test_broken_data_that_cannot_be_had_is_told_and_where(tmp_path, raw):
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"half")
    (raw / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(
        DatasetUnavailable, match=r"MNIST/raw: t10k-images.*\.gz is missing or damaged"
    ):
        dataset.load(tmp_path)


@pytest.mark.usefixtures("no_network")
def test_images_without_labels_are_told(tmp_path, raw):
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    (raw / "t10k-labels-idx1-ubyte").write_bytes(idx(9))
    with pytest.raises(DatasetUnavailable, match="10 images, but 9 labels"):
        dataset.load(tmp_path)


@pytest.mark.parametrize("error", [URLError("away"), RuntimeError("away"), IncompleteRead(b"")])
def test_missing_data_that_cannot_be_had_is_told(tmp_path, monkeypatch, error):
    def fail(_url, folder, filename, _md5):
        (Path(folder) / filename).write_bytes(b"half")
        raise error

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fail)
    with pytest.raises(
        DatasetUnavailable, match=r"damaged; https?://\S+ failed: .*; https?://\S+ failed: "
    ):
        dataset.load(tmp_path)
    assert list((tmp_path / "MNIST" / "raw").iterdir()) == []


def test_batches_are_normalised_for_mynet(few_digits):
    inputs, labels = next(iter(dataset.Batches(few_digits, 100, torch.device("cpu"))))
    assert (inputs.shape, inputs.dtype, labels.dtype) == ((100, 784), torch.float32, torch.int64)
    assert (inputs.min().item(), inputs.max().item()) == (-0.5, 0.5)
