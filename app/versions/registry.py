"""Which version is live, and which ones stay.

What enters: version numbers, and the shipped checkpoints. What leaves: the live version, and the
ones that were live before it. This module does not know who serves a version, nor why it was
promoted.

`CURRENT` holds the live version in its first line and the ones that were live before it in the
lines below, newest first, so that a rollback is one atomic replacement, too. `CURRENT.copy` says
the same, for the day on which `CURRENT` is lost, cut off or names nothing that is here.
"""

import logging
from collections.abc import Container
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from pathlib import Path
from types import EllipsisType
from typing import Final

from app import atomic_files
from app.errors import Conflict
from app.versions import checkpoint
from app.versions.card import Card
from app.versions.version_files import VersionFiles

CURRENT: Final = "CURRENT"
COPY: Final = "CURRENT.copy"
HISTORY: Final = 100
SHIPPED: Final = Path(__file__).parents[2] / "models"
log = logging.getLogger(__name__)


class Registry(VersionFiles):
    """The versions in one folder, one of them live."""

    def refresh(self) -> None:
        """See what others changed: they share the folder, so that there is nothing to do."""

    def check_complete(self) -> None:
        """Check that no version is missing here: none is if all services share the folder."""

    def check_writable(self) -> None:
        """Check that changes can be stored: a folder says so when it is written."""

    def refreshing(self) -> AbstractContextManager[None]:
        """Catch up again and again, until the context ends."""
        return nullcontext()

    def current(self) -> int | None:
        """Return the live version, or None where nothing has gone live yet."""
        return next(iter(self.history()), None)

    def history(self) -> list[int]:
        """List what is and was live, newest first, as far as it is still there."""
        named = self._named() or self._available(COPY)
        # Where one was removed between two that are the same, these are one step.
        return [version for version, _ in groupby(named)]

    def repair(self, live: int | None = None) -> None:
        """Write CURRENT anew where it names nothing that is here: by its copy, else with `live`."""
        if self._named():
            return
        with self.lock:
            fallback = [live] if live and self.file(live).exists() else []
            history = self.history() or fallback
            if history and not self._named():
                self._write(history)
                log.error("%s was damaged; mended, it names version %d", CURRENT, history[0])

    def stamp(self) -> tuple[int, int] | None:
        """Return what changes whenever CURRENT is replaced, at the price of one system call."""
        try:
            status = (self.folder / CURRENT).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def promote(self, version: int, *, expected: int | EllipsisType | None = ...) -> bool:
        """Make a version the live one; with `expected`, only if that one is live until then.

        Returns False if another than `expected` is live. Raises NotFound, Conflict
        where the version is damaged.
        """
        with self.lock:
            self.check(version)
            current = self.current()
            if current != version:
                if expected not in (..., current):
                    return False
                self._commit([version, *self.history()][:HISTORY])
        return True

    def previous(self) -> int:
        """Return the version that was live before the current one. Raises Conflict without one."""
        return self._before()[0]

    def rollback(self, *, expected: int | EllipsisType = ...) -> int:
        """Make the previous version the live one again; with `to`, only where it is that one.

        Raises Conflict where there is none or another, and where it is damaged.
        """
        with self.lock:
            before = self._before()
            if expected not in (..., before[0]):
                raise Conflict("What is live was changed by another request meanwhile: try again.")
            self.check(before[0])
            self._commit(before)
            return before[0]

    def delete(self, version: int) -> None:
        """Remove a version. Raises NotFound, Conflict where it is live."""
        with self.lock:
            self.path(version)
            if version == self.current():
                raise Conflict(f"Version {version} is live: go live with another one first.")
            self.remove([version])

    def prune(
        self,
        keep_versions: int,
        shipped: Path | None = None,
        *,
        protected_jobs: Container[str | None] = (),
    ) -> None:
        """Remove the oldest versions, so that the newest `keep_versions` are left.

        Beside those stay the live one, the one that a rollback goes to, the shipped ones, those of
        `protected_jobs`, and what is damaged, since that is for a person to look at. Raises
        BadCheckpoint.
        """
        with self.lock:
            cards = self.cards()
            oldest_with = {card.weights_digest: card.version for card in reversed(cards)}
            adopted = {
                oldest_with.get(card.weights_digest) for _, card in _shipped(shipped or SHIPPED)
            }
            stay = adopted.union(self.history()[:2])
            stay |= {card.version for card in cards if card.job in protected_jobs}
            others = [card.version for card in cards if card.version not in stay]
            self.remove(others[: max(0, len(others) - keep_versions)])

    def import_bundled(self, shipped: Path | None = None) -> None:
        """Copy the shipped checkpoints that are missing here, each under a number of its own."""
        with self.lock:
            atomic_files.remove_temporary_files(self.folder)
            digests = {card.weights_digest for card in self.cards()}
            for path, card in _shipped(shipped or SHIPPED):
                if card.weights_digest not in digests:
                    # Its job and its parent are of the place where it was trained.
                    local_card = card.model_copy(update={"job": None, "parent": None})
                    self.save(checkpoint.read_verified(path), local_card)

    def _named(self) -> list[int]:
        """List what CURRENT names and is here; nothing where it is its copy, cut off."""
        current, copy = self.read_text(CURRENT), self.read_text(COPY)
        is_cut_off = current != copy and copy.startswith(current)
        return [] if is_cut_off else self._available(CURRENT)

    def _available(self, name: str) -> list[int]:
        return [version for version in self.read_numbers(name) if self._is_available(version)]

    def _is_available(self, version: int) -> bool:
        return self.file(version).exists()

    def _commit(self, history: list[int]) -> None:
        self._write(history)

    def _write(self, history: list[int]) -> None:
        # The copy first: of two that are whole and differ, CURRENT holds.
        for name in (COPY, CURRENT):
            self.write_numbers(name, history)

    def _before(self) -> list[int]:
        before = self.history()[1:]
        if not before:
            raise Conflict("No other version was live before this one.")
        return before


def _shipped(folder: Path) -> list[tuple[Path, Card]]:
    paths = sorted(folder.glob(f"*{checkpoint.SUFFIX}"))
    return [(path, checkpoint.read_card(path)) for path in paths]
