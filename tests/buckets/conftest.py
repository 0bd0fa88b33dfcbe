"""An S3 server, and one for Google Cloud Storage's protocol; each test has a new bucket on one."""

import secrets

import pytest

from app.versions.bucket.object_store import Bucket
from app.versions.bucket.registry import BucketRegistry
from tests.buckets.google import google_storage
from tests.buckets.seaweedfs import run_seaweedfs


@pytest.fixture(autouse=True)
def long_timeout(monkeypatch):
    """Registries in the process of the tests wait longer: other tests may load the machine."""
    monkeypatch.setattr("app.versions.bucket.object_store.LIMIT", 60.0)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with run_seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def google(tmp_path_factory):
    with (
        pytest.MonkeyPatch.context() as patch,
        google_storage(tmp_path_factory.mktemp("gs") / "log") as address,
    ):
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        # Nothing is asked of Google itself: for credentials, and of what kind each bucket is.
        patch.setenv("NO_GCE_CHECK", "true")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        yield


@pytest.fixture
def s3_url(server):
    """The address of a new, empty bucket on S3."""
    return server.new_bucket()


@pytest.fixture
def gs_url(google):  # noqa: ARG001
    """The address of a new, empty bucket on Google Cloud Storage, or what stands for it."""
    import gcsfs

    name = f"b{secrets.token_hex(6)}"
    gcsfs.GCSFileSystem(skip_instance_cache=True).mkdir(name)
    return f"gs://{name}/mynet"


@pytest.fixture(params=["s3", "gs"])
def url(request):
    """The address of a new, empty bucket, on each kind of store."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def make_registry(url, tmp_path):
    """Open another service's registry of the same bucket."""
    return lambda name: BucketRegistry(tmp_path / name, Bucket.at(url))


@pytest.fixture
def first(make_registry):
    registry = make_registry("first")
    registry.import_bundled()
    registry.promote(1)
    return registry


@pytest.fixture
def card(first):
    return first.card(1)
