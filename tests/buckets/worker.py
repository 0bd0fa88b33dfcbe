"""Processes that save and promote versions in a bucket, forked from one that has loaded torch."""

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from app.torch_net import MyNet, weights_of
from app.versions import checkpoint
from app.versions.bucket import object_store
from app.versions.bucket.object_store import Bucket
from app.versions.bucket.registry import BucketRegistry
from app.versions.registry import SHIPPED


class Worker:
    """A process that starts work on a signal, and reports each step."""

    def __init__(self, folder: Path, url: str, times: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.connection, child_connection = context.Pipe()
        arguments = (child_connection, dict(os.environ), folder, url, times)
        self.process = context.Process(target=_work, args=arguments)
        self.process.start()
        child_connection.close()
        assert self.connection.recv() == "ready"

    def begin(self) -> None:
        self.connection.send("begin")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def reports(self) -> list[list]:
        """Run it, and return all that it reports."""
        self.begin()
        reports = [*iter(self.connection.recv, "done")]
        self.process.join()
        assert self.process.exitcode == 0
        self.connection.close()
        return reports


def _work(
    connection: Connection, environment: Mapping[str, str], folder: Path, url: str, times: int
) -> None:
    os.environ.update(environment)  # the process that was forked may have started with another
    object_store.LIMIT = 60.0  # as in the process of the tests
    torch.seed()  # forks would draw the same weights, and the same content is the same version
    registry = BucketRegistry(folder, Bucket.at(url))
    card = checkpoint.read_card(SHIPPED / "documented.safetensors")
    connection.send("ready")
    connection.recv()
    for _ in range(times):
        version = registry.save(weights_of(MyNet()), card)
        connection.send(["saved", version])
        while True:
            registry.refresh()
            expected = registry.current()
            if registry.promote(version, expected=expected):
                break
        connection.send(["promoted", version, expected])
    connection.send("done")
