"""Versions on disk, one `N.safetensors` each.

What enters: weights and a card. What leaves: the same, by version number. Any number of processes
may share the folder. This module does not know which version is live, nor which may go.

`LAST` holds the highest number that had been given when a version was last removed, so that no
number is given twice.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock
from torch import Tensor

from app import atomic_files
from app.errors import Conflict, NotFound
from app.versions import checkpoint
from app.versions.card import Card

LAST: Final = "LAST"
MAX_VERSION: Final = 2**31
log = logging.getLogger(__name__)


class VersionFiles:
    """The versions in one folder, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        atomic_files.make_folder(folder)
        self.folder = folder
        self.lock = FileLock(folder / ".lock")

    def versions(self) -> list[int]:
        """List the version numbers, oldest first."""
        stems = (path.stem for path in self.folder.glob(f"*{checkpoint.SUFFIX}"))
        return sorted(int(stem) for stem in stems if _is_number(stem))

    def path(self, version: int) -> Path:
        """Return the file of a version. Raises NotFound."""
        path = self.file(version)
        if not (0 < version <= MAX_VERSION and path.exists()):
            newest = ", ".join(map(str, self.versions()[-10:])) or "none"
            raise NotFound(f"There is no such version; the newest are: {newest}.")
        return path

    def card(self, version: int) -> Card:
        """Read one card. Raises NotFound, Conflict where the file is damaged."""
        with self._reading(version) as path:
            card = checkpoint.read_card(path)
        return card.model_copy(update={"version": version})

    def cards(self) -> list[Card]:
        """Read all cards, oldest first; a damaged file is logged and passed over."""
        cards = []
        for version in self.versions():
            try:
                cards.append(self.card(version))
            except NotFound:
                continue  # it was removed after it was listed
            except Conflict as error:
                log.error("%s", error)
        return cards

    def weights(self, version: int) -> dict[str, Tensor]:
        """Read a version's weights, float32. Raises NotFound, Conflict where damaged."""
        with self._reading(version) as path:
            return checkpoint.read_verified(path)

    def content(self, version: int) -> bytes:
        """Read a version's file as it is. Raises NotFound, Conflict where damaged."""
        self.check(version)
        with self._reading(version) as path:
            return checkpoint.read_content(path)

    def check(self, version: int) -> None:
        """Check that a version can be read whole, with the weights whose digest is on its card.

        Raises NotFound, Conflict where damaged.
        """
        self.weights(version)

    def save(self, weights: Mapping[str, Tensor], card: Card) -> int:
        """Store weights with their card under the next free number, and return that number.

        Raises IncompatibleWeights where they are not MyNet's or not finite: nothing is stored then.
        """
        with self.lock:
            version = self._last() + 1
            checkpoint.write(self.file(version), weights, card)
        return version

    def remove(self, versions: Sequence[int]) -> None:
        """Remove the files of these versions, whatever is in them, and never give their numbers."""
        with self.lock:
            if versions:
                self.write_numbers(LAST, [self._last()])
            for version in versions:
                atomic_files.remove(self.file(version))
                log.info("version %d is removed", version)

    def file(self, version: int) -> Path:
        """Name the file of a version, there or not."""
        return self.folder / f"{version}{checkpoint.SUFFIX}"

    def read_numbers(self, name: str) -> list[int]:
        """Read a file of version numbers, one a line; one that is missing is empty."""
        return [int(line) for line in self.read_text(name).split() if _is_number(line)]

    def read_text(self, name: str) -> str:
        """Read what lies beside the versions; what is missing is empty."""
        try:
            return (self.folder / name).read_text("ascii", "replace")
        except FileNotFoundError:
            return ""

    def write_numbers(self, name: str, versions: Iterable[int]) -> None:
        """Write a file of version numbers, one a line, atomically."""
        with atomic_files.atomic_replace(self.folder / name) as temporary:
            temporary.write_text("".join(f"{version}\n" for version in versions))

    def _last(self) -> int:
        return max([0, *self.read_numbers(LAST), *self.versions()])

    @contextmanager
    def _reading(self, version: int) -> Iterator[Path]:
        try:
            yield self.path(version)
        except checkpoint.BadCheckpoint as error:
            self.path(version)  # it may have been removed meanwhile
            raise Conflict(f"Version {version} is damaged: its file {error.problem}.") from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_VERSION))
