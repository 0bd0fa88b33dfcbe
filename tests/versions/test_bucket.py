"""Buckets that cannot be used, and addresses that are none."""

import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock
from fsspec.implementations.memory import MemoryFileSystem

from app.startup import StartupError, prepare_registry
from app.train.jobs.checkpoints import Checkpoints, store_as_version
from app.versions.bucket import registry as bucket_registry
from app.versions.bucket.object_store import Bucket, InvalidBucket
from app.versions.bucket.registry import BucketRegistry


class Forgetful(MemoryFileSystem):
    """Makes an object again, as stores do that do not know the condition."""

    def pipe_file(self, path, value, mode="overwrite", **options):  # noqa: ARG002
        return super().pipe_file(path, value, **options)


def test_a_store_that_makes_objects_twice_is_refused():
    Bucket(MemoryFileSystem(), "/good").check()
    with pytest.raises(InvalidBucket, match="created twice"):
        Bucket(Forgetful(), "/bad").check()


@pytest.fixture
def root():
    """The address of a new, empty bucket in memory."""
    return f"{secrets.token_hex(4)}/mynet"


def test_each_request_is_reported_also_one_that_fails(root):
    requests = []
    bucket = Bucket.at(f"memory://{root}", lambda: requests.append("done"))
    assert bucket.create("1", b"")
    assert bucket.read("2") is None
    assert len(requests) == 2


def test_waiting_for_the_requests_of_others_is_reported(root, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket_registry, "LOCK_WAIT", 0.01)
    is_held, is_reported = threading.Event(), threading.Event()
    registry = BucketRegistry(tmp_path, Bucket(MemoryFileSystem(), root, is_reported.set))

    def hold_lock():
        with FileLock(registry.lock.lock_file):
            is_held.set()
            return is_reported.wait(timeout=120)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(hold_lock)
        assert is_held.wait(timeout=120)
        registry.refresh()
    assert other.result()


def test_checkpoint_becomes_one_version_after_another_service_stored_some(root, tmp_path):
    class Store(MemoryFileSystem):
        store, pseudo_dirs = {}, [""]

        def pipe_file(self, path, value, mode="overwrite", **options):
            if mode == "create" and self.exists(path):
                raise FileExistsError(path)
            super().pipe_file(path, value, **options)

    first, second = (
        BucketRegistry(tmp_path / name, Bucket(Store(skip_instance_cache=True), root))
        for name in ("first", "second")
    )
    for registry in (first, second):
        registry.import_bundled()
    weights, card, job_id = first.weights(1), first.card(1), secrets.token_hex(8)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 100)
    checkpoints.write(job_id, 0, weights, card.model_copy(update={"job": job_id, "checkpoint": 0}))
    newest = first.save(weights, card)
    stored, is_new = store_as_version(second, checkpoints, job_id, 0)
    assert (stored.version, is_new) == (newest + 1, True)
    assert store_as_version(first, checkpoints, job_id, 0) == (stored, False)


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
