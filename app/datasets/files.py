"""Files of the uploaded data sets: in the state folder, and in the bucket if versions are in one.

A service fetches the file of another one from the bucket when it needs it.
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from filelock import FileLock

from app import atomic_files
from app.config.settings import Settings
from app.datasets.content import SUFFIX
from app.errors import NotReady
from app.versions.bucket.object_store import Bucket, OnRequest, no_op

FOLDER_IN_BUCKET: Final = "datasets/"
log = logging.getLogger(__name__)


class DatasetFiles:
    """The files in a folder, which is created if missing, with copies in a bucket if there is one.

    `lock` is held from the storage of a file to that of its row.
    """

    def __init__(self, folder: Path, bucket: Bucket | None) -> None:
        atomic_files.make_folder(folder, atomic_files.PRIVATE)
        self.folder, self.bucket = folder, bucket
        self.lock = FileLock(folder / ".lock")

    def ids(self) -> list[str]:
        """List the ids of the data sets whose file is in the folder."""
        return sorted(path.stem for path in self.folder.glob(f"[!.]*{SUFFIX}"))

    def local_path(self, dataset_id: str) -> Path:
        """Return the path of a file, which need not exist."""
        return self.folder / f"{dataset_id}{SUFFIX}"

    def path(self, dataset_id: str) -> Path:
        """Return the path of a file; fetch it from the bucket first if it is missing.

        Raises NotReady if it is in neither, BucketUnavailable.
        """
        path = self.local_path(dataset_id)
        if not path.exists():
            content = self.bucket.read(_object_name(dataset_id)) if self.bucket else None
            if content is None:
                raise NotReady(
                    f"The images of the data set {dataset_id} are not in {self.folder}. Services "
                    "that share a database need a common state folder, or a bucket "
                    "(MYNET_MODELS_URL)."
                )
            self._put(path, content)
        return path

    def is_complete(self, dataset_id: str) -> bool:
        """Return whether the bucket, if there is one, has the copy of a file. It is deleted first.

        Raises BucketUnavailable.
        """
        if self.bucket is None:
            return True
        return _object_name(dataset_id) in self.bucket.sizes(FOLDER_IN_BUCKET)

    def remove_leftovers(self) -> None:
        """Delete the partial files of interrupted writers. The caller holds the lock."""
        atomic_files.remove_temporary_files(self.folder)

    def store(self, dataset_id: str, content: bytes) -> None:
        """Store a file. Raises OSError, BucketUnavailable."""
        self._put(self.local_path(dataset_id), content)
        if self.bucket:
            self.bucket.create(_object_name(dataset_id), content)

    def fetch_again(self, dataset_id: str) -> bool:
        """Replace a damaged file by its copy in the bucket, and return whether there is one."""
        content = None
        with suppress(NotReady):
            content = self.bucket.read(_object_name(dataset_id)) if self.bucket else None
        if content is None:
            return False
        self._put(self.local_path(dataset_id), content)
        return True

    def remove(self, dataset_id: str) -> None:
        """Delete a file and its copy. Raises OSError, BucketUnavailable."""
        if self.bucket:
            self.bucket.remove([_object_name(dataset_id)])
        atomic_files.remove(self.local_path(dataset_id))

    def _put(self, path: Path, content: bytes) -> None:
        with atomic_files.atomic_replace(path) as temporary:
            temporary.write_bytes(content)


def open_files(settings: Settings, on_request: OnRequest = no_op) -> DatasetFiles:
    """Return the files of the settings. No request is sent to the bucket.

    `on_request` is called after each later one. Raises InvalidBucket.
    """
    url = settings.bucket_url
    return DatasetFiles(settings.datasets_dir, None if url is None else Bucket.at(url, on_request))


def _object_name(dataset_id: str) -> str:
    return f"{FOLDER_IN_BUCKET}{dataset_id}{SUFFIX}"
