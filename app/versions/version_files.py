"""Versions in a folder, one `N.safetensors` each; several processes may share the folder.

`LAST` holds the highest number ever assigned, as of the last deletion, so that no number is reused.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from app import atomic_files
from app.errors import Conflict, NotFound
from app.net import Weights
from app.versions import checkpoint
from app.versions.card import Card

LAST: Final = "LAST"
MAX_VERSION: Final = 2**31
log = logging.getLogger(__name__)


class VersionFiles:
    """The versions in one folder, which is created if it does not exist."""

    def __init__(self, folder: Path) -> None:
        atomic_files.make_folder(folder)
        self.folder = folder
        self.lock = FileLock(folder / ".lock")

    def versions(self) -> list[int]:
        """Return the version numbers, oldest first."""
        stems = (path.stem for path in self.folder.glob(f"*{checkpoint.SUFFIX}"))
        return sorted(int(stem) for stem in stems if _is_number(stem))

    def exists(self, version: int) -> bool:
        """Return whether a version exists; its file is not read."""
        return 0 < version <= MAX_VERSION and self.file(version).exists()

    def path(self, version: int) -> Path:
        """Return the file of a version. Raises NotFound."""
        if not self.exists(version):
            newest = ", ".join(map(str, self.versions()[-10:])) or "none"
            raise NotFound(f"Version {version} does not exist. The newest versions are: {newest}.")
        return self.file(version)

    def card(self, version: int) -> Card:
        """Return one card. Raises NotFound, or Conflict if the file is damaged."""
        with self._reading(version) as path:
            card = checkpoint.read_card(path)
        return card.model_copy(update={"version": version})

    def cards(self) -> list[Card]:
        """Return all cards, oldest first. Log and skip damaged files."""
        cards = []
        for version in self.versions():
            try:
                cards.append(self.card(version))
            except NotFound:
                continue  # it was deleted after it was listed
            except Conflict as error:
                log.error("%s", error)
        return cards

    def weights(self, version: int) -> dict[str, NDArray[np.float32]]:
        """Return a version's weights, float32. Raises NotFound, or Conflict if it is damaged."""
        with self._reading(version) as path:
            return checkpoint.read_verified(path)

    def content(self, version: int) -> bytes:
        """Return the bytes of a version's file. Raises NotFound, or Conflict if it is damaged."""
        self.check(version)
        with self._reading(version) as path:
            return checkpoint.read_content(path)

    def check(self, version: int) -> None:
        """Check that a version can be read and its weights have the digest on its card.

        Raises NotFound, or Conflict if it is damaged.
        """
        self.weights(version)

    def save(self, weights: Weights, card: Card) -> int:
        """Store weights with their card under the next free number, and return that number.

        Raises IncompatibleWeights if they are not MyNet's or not finite; nothing is stored then.
        """
        with self.lock:
            version = self._last() + 1
            checkpoint.write(self.file(version), weights, card)
        return version

    def remove(self, versions: Sequence[int]) -> None:
        """Delete the files of these versions, even damaged ones; their numbers stay taken."""
        with self.lock:
            if versions:
                self.write_numbers(LAST, [self._last()])
            for version in versions:
                atomic_files.remove(self.file(version))
                log.info("version deleted: version=%d", version)

    def file(self, version: int) -> Path:
        """Return the path of a version's file, which need not exist."""
        return self.folder / f"{version}{checkpoint.SUFFIX}"

    def read_numbers(self, name: str) -> list[int]:
        """Return the version numbers in a file, one a line; none if the file does not exist."""
        return [int(line) for line in self.read_text(name).split() if _is_number(line)]

    def read_text(self, name: str) -> str:
        """Return the text of a file in the folder; empty if the file does not exist."""
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
            self.path(version)  # raises NotFound if the version was just deleted
            raise Conflict(f"Version {version} is damaged: its file {error.problem}.") from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_VERSION))
