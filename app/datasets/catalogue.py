"""All data sets of a service: those that clients uploaded, the corrections, and MNIST.

An uploaded data set is a row in the database, so that every service on it finds it and no two have
the same name, and a file. The file is stored before the row. To delete a data set, its row loses
its name first, then the file goes, and then the row. The next start finishes what a crash
interrupted.
"""

import logging
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.config.settings import Settings
from app.database.database import Database
from app.database.datasets import DatasetStore
from app.database.tables import Dataset as Row
from app.database.tables import now
from app.datasets import content, mnist
from app.datasets.content import DamagedDataset
from app.datasets.files import DatasetFiles, open_files
from app.datasets.records import (
    BUILT_IN,
    CORRECTIONS,
    MAX_LISTED,
    Dataset,
    DatasetImage,
    RejectedImage,
    SuspectImage,
    check_name,
)
from app.errors import Conflict, NotFound, NotReady
from app.feedback import Correction, FeedbackStore
from app.image.png import to_data_url
from app.mnist.files import LabelledImages
from app.versions.bucket.object_store import BucketUnavailable, OnRequest, no_op

COLUMNS: Final = {"id", "name", "digest", "images", "created_at"}
PNG_URL: Final = "data:image/png;base64,"
T = TypeVar("T")
log = logging.getLogger(__name__)


class Datasets:
    """The data sets of a service."""

    def __init__(
        self, store: DatasetStore, files: DatasetFiles, feedback: FeedbackStore, data_dir: Path
    ) -> None:
        self.store, self.files, self.feedback = store, files, feedback
        self.data_dir = data_dir

    def all(self) -> list[Dataset]:
        """Return all data sets: MNIST, the corrections, then the uploaded ones, oldest first."""
        return [*map(self.get, BUILT_IN), *map(_record, self.store.all())]

    def page(self, after: str | None, limit: int) -> tuple[list[Dataset], bool]:
        """Return a page of data sets that follow `after`, and whether more follow.

        Raises NotFound if that one does not exist.
        """
        found, start = self.all(), 0
        if after is not None:
            start = [dataset.id for dataset in found].index(self.get(after).id) + 1
        return found[start : start + limit], len(found) > start + limit

    def get(self, reference: str) -> Dataset:
        """Return the data set with this id or name. Raises NotFound."""
        if reference == CORRECTIONS:
            return self._corrections()
        if reference in BUILT_IN:
            return mnist.record(reference, self.data_dir)
        return _record(self._row(reference))

    def add(
        self,
        name: str,
        images: LabelledImages,
        rejected: Sequence[RejectedImage] = (),
        suspect: Sequence[SuspectImage] = (),
        version: int | None = None,
    ) -> tuple[Dataset, bool]:
        """Store a data set, and return it, and whether it is new.

        Raises Conflict if another one has the name, unless it has the same images; InvalidField if
        the name is not allowed.
        """
        check_name(name)
        record = Dataset(
            id=secrets.token_hex(8),
            name=name,
            digest=content.digest(images),
            images=len(images.labels),
            labels=content.counts(images.labels),
            created_at=now(),
            version=version,
            rejected=list(rejected[:MAX_LISTED]),
            rejected_images=len(rejected),
            suspect=sorted(suspect, key=lambda image: -image.confidence)[:MAX_LISTED],
            suspect_images=len(suspect),
        )
        if existing := self._same(record):
            return existing, False
        with self.files.lock, self._stored_wholly(record.id):
            self.files.store(record.id, content.to_bytes(images, record))
            if self.store.add(_row(record)):
                return record, True
            self.files.remove(record.id)
        if existing := self._same(record):  # another request was faster
            return existing, False
        raise NotReady(f"The data set {name} is being deleted. Try again.", retry_after=1)

    def delete(self, reference: str) -> None:
        """Delete an uploaded data set.

        Raises NotFound, or Conflict if an unfinished job uses it or if it was not uploaded.
        """
        if reference in BUILT_IN:
            advice = (
                " Delete corrections with DELETE /feedback/ID." if reference == CORRECTIONS else ""
            )
            raise Conflict(f"The data set {reference} is built in and cannot be deleted.{advice}")
        row = self._row(reference)
        if job := self.store.begin_deletion(row.id):
            raise Conflict(
                f"The job {job} uses the data set {row.name}. Cancel the job, or wait for its end."
            )
        self._finish_deletion(row.id)

    def images(self, dataset: Dataset) -> LabelledImages:
        """Return all images of a data set but the corrections.

        Raises NotReady if they are unavailable, Conflict if the file is damaged.
        """
        if dataset.id in BUILT_IN:
            return mnist.images(dataset.id, self.data_dir)
        expected = str(dataset.digest)
        return self._read(dataset.id, lambda path: content.read(path, expected))

    def image_page(
        self,
        dataset: Dataset,
        label: int | None,
        after: str | None,
        limit: int,
        *,
        is_digit: bool | None = None,
    ) -> tuple[list[DatasetImage], bool]:
        """Return a page of images that follow `after`, and whether more follow.

        `label` selects the images with that label, and `is_digit` those that show a digit, or none.
        Raises NotFound if `after` is no image.
        """
        if dataset.id == CORRECTIONS:
            corrections, has_more = self.feedback.page(after, limit, label, is_digit=is_digit)
            return [self._correction_image(correction) for correction in corrections], has_more
        if is_digit is False:  # of all images, only corrections can show no digit
            return [], False
        if dataset.id in BUILT_IN:
            found = mnist.images(dataset.id, self.data_dir)
            indices, has_more = _indices(found.labels, label, after, limit)
            pixels, labels = [found.pixels[index] for index in indices], found.labels
        else:
            labels = self._read(dataset.id, content.read_labels)
            indices, has_more = _indices(labels, label, after, limit)
            pixels = self._read(dataset.id, lambda path: content.read_some(path, indices))
        pictures = zip(indices, pixels, strict=True)
        page = [
            DatasetImage(id=str(index), label=int(labels[index]), image=to_data_url(picture))
            for index, picture in pictures
        ]
        return page, has_more

    def repair(self) -> None:
        """Finish what a crash interrupted: deletions, and the storage of a row."""
        with self.files.lock:
            self.files.remove_leftovers()
            for dataset_id in set(self.files.ids()) - self.store.ids():
                if self.files.is_complete(dataset_id):
                    self._add_row_of_file(dataset_id)
                else:  # another service deleted the data set, or the copy was not stored
                    self.files.remove(dataset_id)
        for dataset_id in self.store.being_deleted():
            self._finish_deletion(dataset_id)

    @contextmanager
    def _stored_wholly(self, dataset_id: str) -> Iterator[None]:
        """Delete the row and the file of a data set if its storage raises an error.

        If they cannot be deleted either, the next start decides.
        """
        try:
            yield
        except (NotReady, OSError):
            try:
                # The row may be there although its write raised, and a job may use it by now.
                if self.store.begin_deletion(dataset_id) is None:
                    self._finish_deletion(dataset_id)
            except (NotReady, OSError) as error:
                message = "data set is repaired at the next start: id=%s error=%s"
                log.error(message, dataset_id, error)
            raise

    def _add_row_of_file(self, dataset_id: str) -> None:
        """Store the row of a file without one: a crash, or another database, lacks it."""
        path = self.files.local_path(dataset_id)
        try:
            record = content.read_record(path)
        except DamagedDataset as error:
            log.error("file is no data set: %s", error)
            return
        if self.store.add(_row(record)):
            log.warning("data set restored from its file: id=%s name=%s", record.id, record.name)
            return
        existing = self.store.find(record.name)
        if existing and existing.digest == record.digest:  # the client has sent it again
            self.files.remove(dataset_id)
        else:
            log.error("another data set has the name of a file: file=%s name=%s", path, record.name)

    def _finish_deletion(self, dataset_id: str) -> None:
        try:
            self.files.remove(dataset_id)
        except BucketUnavailable as error:
            log.error("data set is deleted later: id=%s error=%s", dataset_id, error.problem)
            return
        self.store.remove(dataset_id)

    def _same(self, record: Dataset) -> Dataset | None:
        """Return the data set with the same name and images. Raises Conflict for other images."""
        row = self.store.find(record.name)
        if row is None:
            return None
        if row.digest == record.digest:
            return _record(row)
        raise Conflict(
            f"Another data set has the name {record.name}: {row.id}, with {row.images} images. "
            "Send another name, or delete it first."
        )

    def _row(self, reference: str) -> Row:
        row = self.store.find(reference)
        if row is None:
            raise NotFound(
                f"The data set {reference[:64]!r} does not exist. GET /datasets lists all."
            )
        return row

    def _read(self, dataset_id: str, read: Callable[[Path], T]) -> T:
        """Read a file; if it is damaged, fetch its copy from the bucket and read that."""
        try:
            return read(self.files.path(dataset_id))
        except DamagedDataset as error:
            log.error("%s", error)
            if not self.files.fetch_again(dataset_id):
                raise Conflict(f"The data set {dataset_id} is damaged. Upload it again.") from error
        return read(self.files.path(dataset_id))

    def _corrections(self) -> Dataset:
        corrections = self.feedback.all()
        labels = [correction.label for correction in corrections if correction.label is not None]
        return Dataset(
            id=CORRECTIONS,
            name=CORRECTIONS,
            digest=None,
            images=len(corrections),
            labels=content.counts(np.array(labels, np.uint8)),
            non_digits=len(corrections) - len(labels),
            created_at=None,
        )

    def _correction_image(self, correction: Correction) -> DatasetImage:
        return DatasetImage(
            id=correction.id,
            label=correction.label,
            is_digit=correction.is_digit,
            image=PNG_URL + b64encode(self.feedback.read(correction)).decode("ascii"),
        )


def open_datasets(
    settings: Settings, database: Database, on_request: OnRequest = no_op
) -> Datasets:
    """Return the data sets of the settings. `on_request` is called after each one to the bucket.

    Raises InvalidBucket, OSError.
    """
    feedback = FeedbackStore(settings.feedback_dir, settings.max_feedback)
    files = open_files(settings, on_request)
    return Datasets(DatasetStore(database), files, feedback, settings.data_dir)


def clean_up(settings: Settings, database: Database) -> None:
    """Finish what a crash interrupted.

    If the bucket or the database is unavailable, the next start does.
    """
    try:
        open_datasets(settings, database).repair()
    except NotReady as error:
        log.error("data sets are repaired at the next start: error=%s", error)


def _indices(
    labels: NDArray[np.uint8], label: int | None, after: str | None, limit: int
) -> tuple[list[int], bool]:
    first = 0
    if after is not None:
        if not re.fullmatch(r"\d{1,9}", after, re.ASCII) or int(after) >= len(labels):
            raise NotFound(f"The data set has no image {after[:64]!r}: it has {len(labels)}.")
        first = int(after) + 1
    found = (
        np.flatnonzero(labels[first:] == label)
        if label is not None
        else np.arange(len(labels) - first)
    )
    return (found[:limit] + first).tolist(), len(found) > limit


def _record(row: Row) -> Dataset:
    columns = {column: getattr(row, column) for column in COLUMNS}
    return Dataset.model_validate({**row.details, **columns})


def _row(record: Dataset) -> Row:
    columns = record.model_dump(include=COLUMNS)
    return Row(**columns, details=record.model_dump(mode="json", exclude=COLUMNS))
