"""Opening of safetensors files: the error is the system's, not the library's."""

import errno
import os
import resource
from contextlib import contextmanager

import numpy as np
import pytest
import safetensors.numpy

from app.safetensors_files import open_safetensors


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"ones": np.ones(3, np.uint8)}, path)
    return path


@contextmanager
def no_more_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_open_file_yields_its_tensors(file):
    with open_safetensors(file) as opened:
        assert opened.get_tensor("ones").tolist() == [1, 1, 1]


def test_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, open_safetensors(tmp_path / "b.safetensors"):
        pass
    assert caught.value.errno == errno.ENOENT


def test_file_that_the_system_does_not_open_is_not_missing(file):
    with pytest.raises(OSError) as caught, no_more_files(), open_safetensors(file):
        pass
    assert (caught.value.errno, caught.value.strerror) == (errno.EMFILE, os.strerror(errno.EMFILE))


def test_file_that_did_not_open_once_is_an_input_output_error(file, monkeypatch):
    def fail(path, **_):
        raise FileNotFoundError(f"No such file or directory: {path}")

    monkeypatch.setattr("app.safetensors_files.safe_open", fail)
    with pytest.raises(OSError, match="Input/output error") as caught, open_safetensors(file):
        pass
    assert caught.value.errno == errno.EIO
