"""Buckets that cannot be used, and addresses that are none."""

import sys

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from app.startup import StartupError, prepare_registry
from app.versions.bucket.object_store import Bucket, InvalidBucket


class Forgetful(MemoryFileSystem):
    """Makes an object again, as stores do that do not know the condition."""

    def pipe_file(self, path, value, mode="overwrite", **options):  # noqa: ARG002
        return super().pipe_file(path, value, **options)


def test_a_store_that_makes_objects_twice_is_refused():
    Bucket(MemoryFileSystem(), "/good").check()
    with pytest.raises(InvalidBucket, match="created twice"):
        Bucket(Forgetful(), "/bad").check()


@pytest.mark.parametrize(("url", "library"), [("s3://b/m", "s3fs"), ("gs://b/m", "gcsfs")])
def test_a_library_that_is_missing_is_named(settings, monkeypatch, url, library):
    monkeypatch.setitem(sys.modules, library, None)
    filesystems = sys.modules["fsspec.registry"]._registry
    monkeypatch.delitem(filesystems, url.partition(":")[0], raising=False)
    with pytest.raises(StartupError, match=r"MYNET_MODELS_URL=.*pip install '\.\[(s3|gs)\]'"):
        prepare_registry(settings.model_copy(update={"models_url": url}))


def test_a_path_is_the_folder_itself(settings, tmp_path):
    for url in (str(tmp_path / "shared"), f"file://{tmp_path}/shared"):
        registry = prepare_registry(settings.model_copy(update={"models_url": url}))
        assert (registry.folder, registry.versions()) == (tmp_path / "shared", [1])
