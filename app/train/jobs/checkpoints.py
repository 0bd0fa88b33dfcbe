"""Checkpoints of jobs: the weights of their epochs, which can become versions.

A checkpoint is a file like that of a version, `JOB/EPOCH.safetensors`: weights, and the card of the
version that it would become. It stays until its job is deleted, or newer ones need its place.
"""

import logging
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from app.atomic_files import make_folder, remove_temporary_files
from app.database.tables import now
from app.errors import Conflict, NotFound
from app.net import Weights
from app.versions import checkpoint
from app.versions.card import Card
from app.versions.registry import Registry

JOB_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints in a folder; at most `limit` of them, over all jobs."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def sizes(self, job_id: str) -> dict[int, int]:
        """Return the size in bytes of each checkpoint of a job, by epoch."""
        sizes = {}
        for path in self._files(job_id):
            with suppress(FileNotFoundError):  # it was deleted after it was listed
                sizes[int(path.stem)] = path.stat().st_size
        return dict(sorted(sizes.items()))

    def read(self, job_id: str, epoch: int) -> tuple[Weights, Card]:
        """Return weights and card. Raises NotFound, or Conflict if the file is damaged."""
        with self._reading(job_id, epoch) as path:
            return checkpoint.read_verified(path), checkpoint.read_card(path)

    def content(self, job_id: str, epoch: int) -> tuple[bytes, Card]:
        """Return the bytes of the file, and its card. Raises what `read` does."""
        with self._reading(job_id, epoch) as path:
            checkpoint.read_verified(path)
            return checkpoint.read_content(path), checkpoint.read_card(path)

    @contextmanager
    def _reading(self, job_id: str, epoch: int) -> Iterator[Path]:
        path = self._path(job_id, epoch)
        if not JOB_ID.fullmatch(job_id) or not path.exists():
            epochs = ", ".join(map(str, self.sizes(job_id))) or "none"
            raise NotFound(
                f"The job {job_id!r} has no checkpoint of epoch {epoch}. Its epochs with a "
                f"checkpoint are: {epochs}."
            )
        try:
            yield path
        except checkpoint.BadCheckpoint as error:
            raise Conflict(
                f"The checkpoint of epoch {epoch} is damaged: its file {error.problem}."
            ) from error

    def write(self, job_id: str, epoch: int, weights: Weights, card: Card) -> None:
        """Store a checkpoint, atomically, and delete the oldest ones over the limit.

        Raises OSError.
        """
        make_folder(self.folder / job_id)
        checkpoint.write(self._path(job_id, epoch), weights, card)
        self._delete_oldest()

    def delete(self, job_id: str) -> None:
        """Delete the checkpoints of a job, if it has any."""
        if JOB_ID.fullmatch(job_id):
            # A process that exits late may still write there. The next clean-up deletes the rest.
            shutil.rmtree(self.folder / job_id, ignore_errors=True)

    def clean_up(
        self, recorded_epochs: Callable[[str], Collection[int] | None], *, writers: bool
    ) -> None:
        """Delete the checkpoints of jobs that do not exist, whose epochs are None.

        If there are no `writers`, what interrupted attempts left is deleted, too: temporary files,
        and checkpoints of epochs that are not recorded, so that they are in no list.
        """
        for folder in self.folder.glob("*/"):
            epochs = recorded_epochs(folder.name)
            if epochs is None:
                self.delete(folder.name)
            elif not writers:
                remove_temporary_files(folder)
                for epoch in self.sizes(folder.name).keys() - {*epochs}:
                    self._path(folder.name, epoch).unlink(missing_ok=True)

    def _delete_oldest(self) -> None:
        times = {}
        for path in self._files("*"):
            with suppress(FileNotFoundError):  # another job's process has deleted it
                times[path] = path.stat().st_mtime_ns
        oldest = sorted(times, key=times.__getitem__)[: max(0, len(times) - self.limit)]
        for path in oldest:
            path.unlink(missing_ok=True)
            log.info("checkpoint deleted: job=%s epoch=%s", path.parent.name, path.stem)

    def _files(self, job_id: str) -> Iterator[Path]:
        if job_id != "*" and not JOB_ID.fullmatch(job_id):
            return
        for path in self.folder.glob(f"{job_id}/*{checkpoint.SUFFIX}"):
            if path.stem.isdecimal():  # not a temporary file
                yield path

    def _path(self, job_id: str, epoch: int) -> Path:
        return self.folder / job_id / f"{epoch}{checkpoint.SUFFIX}"


def store_as_version(
    registry: Registry, checkpoints: Checkpoints, job_id: str, epoch: int
) -> tuple[Card, bool]:
    """Return the version of a checkpoint, and whether it is new. It does not go live.

    Raises NotFound, or Conflict if the checkpoint is damaged.
    """

    def find_or_save() -> tuple[int, bool]:
        for card in registry.cards():
            if (card.job, card.checkpoint) == (job_id, epoch):
                return card.version, False
        weights, card = checkpoints.read(job_id, epoch)
        return registry.save(weights, card.model_copy(update={"created_at": now()})), True

    version, is_new = registry.change(find_or_save)
    return registry.card(version), is_new
