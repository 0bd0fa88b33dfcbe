"""Versions on disk: one `N.safetensors` each, and `CURRENT`, which names the live one.

What enters: weights and a card. What leaves: the same, by version number. Any number of processes
may share the folder. This module does not know who serves a version, nor why it was promoted.

`CURRENT` holds the live version in its first line and the ones that were live before it in the
lines below, newest first, so that a rollback is one atomic replacement, too.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock
from torch import Tensor

from app import checkpoint
from app.card import Card
from app.durable import replacing, sweep
from app.errors import Conflict, NotFound

CURRENT: Final = "CURRENT"
HISTORY: Final = 100
LARGEST: Final = 2**31
SHIPPED: Final = Path(__file__).parents[1] / "models"
log = logging.getLogger(__name__)


class Registry:
    """The versions in one folder, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = FileLock(folder / ".lock")

    def versions(self) -> list[int]:
        """List the version numbers, oldest first."""
        stems = (path.stem for path in self.folder.glob(f"*{checkpoint.SUFFIX}"))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def path(self, version: int) -> Path:
        """Give the file of a version. Raises NotFound."""
        path = self._file(version)
        if not (0 < version <= LARGEST and path.exists()):
            known = ", ".join(map(str, self.versions()[-10:])) or "none"
            raise NotFound(f"There is no such version; the newest are: {known}.")
        return path

    def card(self, version: int) -> Card:
        """Read one card. Raises NotFound, Conflict where the file is damaged."""
        with _damage_told(version):
            card = checkpoint.read_card(self.path(version))
        return card.model_copy(update={"version": version})

    def cards(self) -> list[Card]:
        """Read all cards, oldest first; a damaged file is logged and passed over."""
        cards = []
        for version in self.versions():
            try:
                cards.append(self.card(version))
            except Conflict as error:
                log.error("%s", error)
        return cards

    def weights(self, version: int) -> dict[str, Tensor]:
        """Read a version's weights, float32. Raises NotFound, Conflict where damaged."""
        with _damage_told(version):
            return checkpoint.read_weights(self.path(version))

    def save(self, weights: Mapping[str, Tensor], card: Card) -> int:
        """Store weights with their card under the next free number, and return that number."""
        with self._lock:
            version = max(self.versions(), default=0) + 1
            checkpoint.write(self._file(version), weights, card)
        return version

    def adopt_shipped(self, shipped: Path = SHIPPED) -> None:
        """Copy the shipped checkpoints that are missing here, each under a number of its own."""
        with self._lock:
            sweep(self.folder)
            known = {card.weights_digest for card in self.cards()}
            for path in sorted(shipped.glob(f"*{checkpoint.SUFFIX}")):
                card = checkpoint.read_card(path)
                if card.weights_digest not in known:
                    # Its job and its parent are of the place where it was trained.
                    here = card.model_copy(update={"job": None, "parent": None})
                    self.save(checkpoint.read_weights(path), here)

    def current(self) -> int | None:
        """Give the live version, or None where nothing has gone live yet."""
        return next(iter(self.history()), None)

    def stamp(self) -> tuple[int, int] | None:
        """Give what changes whenever CURRENT is replaced, at the price of one system call."""
        try:
            status = (self.folder / CURRENT).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def promote(self, version: int) -> None:
        """Make a version the live one. Raises NotFound."""
        self.path(version)
        with self._lock:
            history = self.history()
            if history[:1] != [version]:
                self._write_history([version, *history][:HISTORY])

    def previous(self) -> int:
        """Give the version that was live before the current one. Raises Conflict without one."""
        return self._before()[0]

    def rollback(self) -> int:
        """Make the previous version the live one again. Raises Conflict without one."""
        with self._lock:
            before = self._before()
            self._write_history(before)
            return before[0]

    def _before(self) -> list[int]:
        before = self.history()[1:]
        if not before:
            raise Conflict("No other version was live before this one.")
        return before

    def _file(self, version: int) -> Path:
        return self.folder / f"{version}{checkpoint.SUFFIX}"

    def history(self) -> list[int]:
        """List what is and was live, newest first, as far as it is still there."""
        try:
            lines = (self.folder / CURRENT).read_text("ascii", "replace").split()
        except FileNotFoundError:
            return []
        # A version that somebody removed by hand must not stop the service.
        named = (int(line) for line in lines if line.isdigit())
        return [version for version in named if self._file(version).exists()]

    def _write_history(self, history: list[int]) -> None:
        with replacing(self.folder / CURRENT) as temporary:
            temporary.write_text("".join(f"{version}\n" for version in history))


@contextmanager
def _damage_told(version: int) -> Iterator[None]:
    try:
        yield
    except checkpoint.BadCheckpoint as error:
        raise Conflict(f"Version {version} is damaged: {error}.") from error
