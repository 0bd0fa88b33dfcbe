"""The small data folder that tests train on in child processes."""

import torch

from app.mnist.files import read_test_images
from app.train.recipes.dataset import load


def test_small_data_dir_holds_the_first_digits(small_data_dir, mnist):
    small = load(small_data_dir)
    assert torch.equal(small.train.pixels, mnist.train.pixels[:2000])
    assert torch.equal(small.train.labels, mnist.train.labels[:2000])
    assert torch.equal(small.test.pixels, mnist.test.pixels[:500])
    assert torch.equal(small.test.labels, mnist.test.labels[:500])
    assert len(read_test_images(small_data_dir).labels) == 500


def test_small_data_dir_archives_unpack_to_its_files(small_data_dir, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in (small_data_dir / "MNIST" / "raw").glob("*.gz"):
        (raw / archive.name).write_bytes(archive.read_bytes())
    digits = read_test_images(tmp_path)
    assert (len(digits.pixels), len(digits.labels)) == (500, 500)
