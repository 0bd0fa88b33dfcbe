"""An S3 server, and one for Google Cloud Storage's protocol; each test has a new bucket on one."""

import json
import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest

from app.versions.bucket.object_store import Bucket
from app.versions.bucket.registry import BucketRegistry
from tests.buckets.google import google_storage
from tests.programs import find_program
from tests.service.running import free_port

KEY, SECRET = "the-key", "the-secret-of-the-tests"
IDENTITY = {
    "name": "tests",
    "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
    "actions": ["Admin", "Read", "Write", "List"],
}


class Server:
    """An S3 server that can be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, find_program("weed")
        self.ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self.url = f"http://127.0.0.1:{self.ports['s3']}"
        (folder / "s3.json").write_text(json.dumps({"identities": [IDENTITY]}))
        self.start()

    def start(self) -> None:
        ports = [f"-{name}.port={port}" for name, port in self.ports.items()]
        grpc = [f"-{name}.port.grpc={free_port()}" for name in self.ports]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [self.program, "server", f"-dir={self.folder}", "-ip=127.0.0.1", "-filer", "-s3",
                 "-ip.bind=127.0.0.1", f"-s3.config={self.folder / 's3.json'}",
                 "-volume.max=2000", "-master.volumeSizeLimitMB=64",
                 "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
                 *ports, *grpc],
                stdout=log, stderr=log,
            )  # fmt: skip

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def wait_until_up(self) -> None:
        import s3fs

        deadline = time.monotonic() + 60
        while True:
            try:
                filesystem = s3fs.S3FileSystem(skip_instance_cache=True)
                filesystem.makedirs(f"up-{secrets.token_hex(4)}")
                return
            except Exception:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.2)

    def new_bucket(self) -> str:
        """Make a bucket, and return the address of a folder in it."""
        import s3fs

        name = f"b{secrets.token_hex(6)}"
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
        return f"s3://{name}/mynet"


@pytest.fixture(autouse=True)
def long_timeout(monkeypatch):
    """Registries in the process of the tests wait longer: other tests may load the machine."""
    monkeypatch.setattr("app.versions.bucket.object_store.LIMIT", 60.0)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        try:
            server.wait_until_up()
            yield server
        finally:
            server.end()


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
