"""Corrections: images with the digit that they show, or that show none, one file each.

Several processes may share the folder. The name of a file holds everything about its correction:
time, label, id, and the id of the wrong prediction, if it was sent. So a correction is stored
completely or not at all, and listing opens no files. The id is a digest of the pixels: an image is
stored once, whatever its format, and nothing of the upload but its pixels is stored.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from app import atomic_files
from app.errors import Conflict, NotFound

TIME_FORMAT: Final = "%Y%m%dT%H%M%S%fZ"
# In file names, in the place of the label. An older release ignores the files that have it.
NOT_A_DIGIT: Final = "not_a_digit"
NAME_PATTERN: Final = re.compile(
    rf"(\d{{8}}T\d{{12}}Z)-(\d|{NOT_A_DIGIT})-([0-9a-f]{{32}})-([\w-]{{0,64}})\.png", re.ASCII
)
ID_LENGTH: Final = 32
TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Correction:
    """An image with its correct label: the digit that it shows, or None if it shows no digit."""

    time: str
    label: int | None
    id: str
    prediction_id: str | None

    @property
    def created_at(self) -> datetime:
        return datetime.strptime(self.time, TIME_FORMAT).replace(tzinfo=UTC)

    @property
    def is_digit(self) -> bool:
        return self.label is not None

    @property
    def written_label(self) -> str:
        """The label in file names."""
        return NOT_A_DIGIT if self.label is None else str(self.label)

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.time}-{self.written_label}-{self.id}-{self.prediction_id or ''}.png"

    @classmethod
    def from_filename(cls, name: str) -> "Correction | None":
        """Return the correction in a file name, or None for the name of another file."""
        match = NAME_PATTERN.fullmatch(name)
        if not match:
            return None
        label = None if match[2] == NOT_A_DIGIT else int(match[2])
        return cls(match[1], label, match[3], match[4] or None)


class FeedbackStore:
    """Stores at most `max_corrections` corrections in a folder, which is created if missing."""

    def __init__(self, folder: Path, max_corrections: int) -> None:
        atomic_files.make_folder(folder)
        self.folder, self.max_corrections = folder, max_corrections
        self.lock = FileLock(folder / ".lock", poll_interval=0.005)

    def add(
        self,
        pixels: NDArray[np.uint8],
        label: int | None,
        prediction_id: str | None = None,
        *,
        replace: bool = False,
    ) -> tuple[Correction, bool]:
        """Store (H, W) grey pixels once. Return the correction, and whether its image is new.

        `label` is the digit that they show, or None if they show no digit. A replacement without
        `prediction_id` has the previous one.
        Raises Conflict if the image has a different label, unless `replace` is set, and if there
        are `max_corrections` already.
        """
        image_id = digest(pixels)
        with self.lock:
            existing = self._corrections_by_id()
            previous = existing.get(image_id)
            if previous and previous.label == label:
                return previous, False
            if previous and not replace:
                raise _other_label(previous, label)
            if not previous and len(existing) >= self.max_corrections:
                raise Conflict(
                    f"The limit MYNET_MAX_FEEDBACK={self.max_corrections} is reached: "
                    f"{len(existing)} corrections are stored. Delete some first."
                )
            prediction_id = prediction_id or (previous.prediction_id if previous else None)
            correction = Correction(_next_time(existing), label, image_id, prediction_id)
            with atomic_files.atomic_replace(self.folder / correction.name) as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")
            if previous:
                self._remove(image_id, exclude=correction.name)
        return correction, previous is None

    def all(self) -> list[Correction]:
        """Return all corrections, newest first."""
        with self.lock:
            return list(self._corrections_by_id().values())

    def count(self, since: datetime | None, *, non_digits: bool) -> int:
        """Count the corrections that were stored after `since`, or all.

        Those that show no digit count if `non_digits` is true.
        """
        time = since.strftime(TIME_FORMAT) if since else ""
        new = [correction for correction in self.all() if correction.time > time]
        return sum(non_digits or correction.is_digit for correction in new)

    def page(
        self,
        after: str | None,
        limit: int,
        label: int | None = None,
        *,
        is_digit: bool | None = None,
    ) -> tuple[list[Correction], bool]:
        """Return a page of corrections older than the one with id `after`, and whether more follow.

        `label` selects those with that label, and `is_digit` those that show a digit, or none.
        Raises NotFound if the one of `after` does not exist.
        """
        found = self.all()
        if after is not None:
            ids = [correction.id for correction in found]
            if after not in ids:
                raise _not_found(after)
            found = found[ids.index(after) + 1 :]
        if label is not None:
            found = [correction for correction in found if correction.label == label]
        if is_digit is not None:
            found = [correction for correction in found if correction.is_digit == is_digit]
        return found[:limit], len(found) > limit

    def content(self, image_id: str) -> tuple[Correction, bytes]:
        """Return a correction with its image, a PNG. Raises NotFound."""
        with self.lock:
            correction = self._get(image_id)
            return correction, self.read(correction)

    def read(self, correction: Correction) -> bytes:
        """Return the image of a listed correction, a PNG. Raises NotFound if it was deleted."""
        try:
            return (self.folder / correction.name).read_bytes()
        except FileNotFoundError:
            raise _not_found(correction.id) from None

    def delete(self, image_id: str) -> None:
        """Delete a correction. Raises NotFound."""
        with self.lock:
            self._get(image_id)
            self._remove(image_id)

    def clean_up(self) -> None:
        """Delete the leftovers of interrupted writers: partial files and replaced labels.

        The lock ensures that no writer is active.
        """
        with self.lock:
            atomic_files.remove_temporary_files(self.folder)
            current_names = {correction.name for correction in self._corrections_by_id().values()}
            for path in list(self.folder.iterdir()):
                if Correction.from_filename(path.name) and path.name not in current_names:
                    atomic_files.remove(path)

    def _get(self, image_id: str) -> Correction:
        correction = self._corrections_by_id().get(image_id)
        if correction is None:
            raise _not_found(image_id)
        return correction

    def _corrections_by_id(self) -> dict[str, Correction]:
        """Return all corrections by id, newest first; if a replacement was interrupted, the newest.

        The caller holds the lock: listing a folder while it changes may miss a renamed file.
        """
        existing: dict[str, Correction] = {}
        for name in sorted((path.name for path in self.folder.iterdir()), reverse=True):
            correction = Correction.from_filename(name)
            if correction:
                existing.setdefault(correction.id, correction)
        return existing

    def _remove(self, image_id: str, exclude: str | None = None) -> None:
        for path in self.folder.glob(f"*-{image_id}-*"):
            if path.name != exclude:
                atomic_files.remove(path)


def digest(pixels: NDArray[np.uint8]) -> str:
    """Return the id of an image: a digest of its width and its (H, W) grey pixels."""
    content = b"%d %b" % (pixels.shape[1], np.ascontiguousarray(pixels).tobytes())
    return hashlib.sha256(content).hexdigest()[:ID_LENGTH]


def _next_time(existing: dict[str, Correction]) -> str:
    """Return a time later than all existing ones, even if the clock was set back."""
    time = datetime.now(UTC)
    newest = next(iter(existing.values()), None)
    return (max(time, newest.created_at + TICK) if newest else time).strftime(TIME_FORMAT)


def _other_label(previous: Correction, label: int | None) -> Conflict:
    before = f"has the label {previous.label}" if previous.is_digit else "is stored as no digit"
    after = "no digit" if label is None else label
    return Conflict(
        f"The image {before} already, as correction {previous.id}. "
        f"Set ?replace=true to change it to {after}."
    )


def _not_found(image_id: str) -> NotFound:
    return NotFound(
        f"The correction {image_id[:64]!r} does not exist. GET /feedback lists all corrections."
    )
