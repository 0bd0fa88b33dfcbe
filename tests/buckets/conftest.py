"""SeaweedFS's S3 server, a process of its own, and a new bucket in it for each test."""

import json
import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.programs import needed
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
        self.folder, self.program = folder, needed("weed")
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

    def until_up(self) -> None:
        import s3fs

        until = time.monotonic() + 60
        while True:
            try:
                filesystem = s3fs.S3FileSystem(skip_instance_cache=True)
                filesystem.makedirs(f"up-{secrets.token_hex(4)}")
                return
            except Exception:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.2)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server.until_up()
        yield server
    server.end()


@pytest.fixture
def url(server):  # noqa: ARG001
    """The address of a new, empty bucket."""
    import s3fs

    name = f"b{secrets.token_hex(6)}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    return f"s3://{name}/mynet"
