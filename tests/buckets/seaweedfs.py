"""SeaweedFS, an S3 server that can be stopped, killed and started again."""

import json
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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

        deadline = time.monotonic() + 240
        while True:
            try:
                filesystem = s3fs.S3FileSystem(skip_instance_cache=True)
                bucket = f"up-{secrets.token_hex(4)}"
                filesystem.makedirs(bucket)
                filesystem.pipe_file(f"{bucket}/object", b"stored")  # its volumes start last
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


@contextmanager
def run_seaweedfs(folder: Path) -> Iterator[Server]:
    """Run it as long as the context lasts; the environment has its address and credentials."""
    server = Server(folder)
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
