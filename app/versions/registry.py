"""Version registry in a folder: the live version, its history, and retention.

`CURRENT` holds the live version in its first line and the previous live versions below, newest
first, so that a rollback is also one atomic replacement. `CURRENT.copy` holds the same, in case
`CURRENT` is lost, truncated, or names only versions that do not exist. `CHECKPOINTS` holds
the sha256 of each file of `MYNET_CHECKPOINT`, and the version that it became, one a line.
"""

import logging
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from pathlib import Path
from types import EllipsisType
from typing import Final, TypeVar

from app import atomic_files
from app.errors import Conflict
from app.versions import checkpoint
from app.versions.card import Card
from app.versions.version_files import VersionFiles

CURRENT: Final = "CURRENT"
COPY: Final = "CURRENT.copy"
CHECKPOINTS: Final = "CHECKPOINTS"
HISTORY: Final = 100
SHIPPED: Final = Path(__file__).parents[2] / "models"
ResultT = TypeVar("ResultT")
log = logging.getLogger(__name__)


class Registry(VersionFiles):
    """The versions in one folder, one of them live."""

    def refresh(self) -> None:
        """Read the changes of other services; nothing to do if they share the folder."""

    def check_complete(self) -> None:
        """Check that all versions are in the folder; always true if all services share it."""

    def check_writable(self) -> None:
        """Check that changes can be stored; a folder reports this when it is written."""

    def refreshing(self) -> AbstractContextManager[None]:
        """Return a context in which the registry keeps reading the changes of other services."""
        return nullcontext()

    def change(self, work: Callable[[], ResultT]) -> ResultT:
        """Return the result of `work`, whose reads and changes no other change interrupts.

        It may run more than once, so it must do nothing else.
        """
        with self.lock:
            return work()

    def current(self) -> int | None:
        """Return the live version, or None if none has gone live yet."""
        return next(iter(self.history()), None)

    def history(self) -> list[int]:
        """Return the live and the previously live versions that still exist, newest first."""
        named = self._named() or self._available(COPY)
        # Deleting a version can leave two equal neighbours; collapse them.
        return [version for version, _ in groupby(named)]

    def cards_and_history(self) -> tuple[list[Card], list[int]]:
        """Return all cards, oldest first, and the history, read while the live version stayed.

        So the live version is among the cards, unless its file is damaged.
        """
        while True:
            history, cards = self.history(), self.cards()
            if self.history() == history:
                return cards, history

    def repair(self, live: int | None = None) -> None:
        """Restore CURRENT from its copy, or else with `live`, if it names no existing version."""
        if self._named():
            return
        with self.lock:
            fallback = [live] if live and self.file(live).exists() else []
            history = self.history() or fallback
            if history and not self._named():
                self._write(history)
                log.error("%s was damaged and restored: version=%d", CURRENT, history[0])

    def stamp(self) -> tuple[int, int] | None:
        """Return a value that changes whenever CURRENT is replaced. It takes one system call."""
        try:
            status = (self.folder / CURRENT).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def promote(self, version: int, *, expected: int | EllipsisType | None = ...) -> bool:
        """Make a version live; with `expected`, only if that version is live until then.

        Returns False if another version than `expected` is live. Raises NotFound, or Conflict if
        the version is damaged.
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
        """Make the previous version live again; with `expected`, only if it is that one.

        Raises Conflict if there is no previous version, if it is another one, or if it is damaged.
        """
        with self.lock:
            before = self._before()
            if expected not in (..., before[0]):
                raise Conflict("Another request changed the live version. Try again.")
            self.check(before[0])
            self._commit(before)
            return before[0]

    def delete(self, version: int) -> None:
        """Delete a version. Raises NotFound, or Conflict if it is live."""
        with self.lock:
            self.path(version)
            if version == self.current():
                raise Conflict(f"Version {version} is live. Promote another version first.")
            self.remove([version])

    def prune(
        self,
        keep_versions: int,
        *,
        protected_jobs: Container[str | None] = (),
    ) -> None:
        """Delete the oldest versions, so that the newest `keep_versions` are left.

        In addition, the live version, the previous live version, the shipped versions, those of
        `protected_jobs`, and damaged ones, which a person should examine, are not deleted. Raises
        BadCheckpoint.
        """
        with self.lock:
            cards = self.cards()
            oldest_with = {card.weights_digest: card.version for card in reversed(cards)}
            bundled = {oldest_with.get(card.weights_digest) for _, card in _bundled()}
            stay = bundled.union(self.history()[:2])
            stay |= {card.version for card in cards if card.job in protected_jobs}
            others = [card.version for card in cards if card.version not in stay]
            self.remove(others[: max(0, len(others) - keep_versions)])

    def recorded_checkpoint(self, digest: str) -> int | None:
        """Return the version that a checkpoint file with this digest became, even a deleted one."""
        lines = (line.split() for line in self.read_text(CHECKPOINTS).splitlines())
        versions = (int(line[1]) for line in lines if line[:1] == [digest] and len(line) == 2)
        return next(versions, None)

    def record_checkpoint(self, digest: str, version: int) -> None:
        """Record that a checkpoint file became a version, and must not go live by itself again."""
        with self.lock:
            if self.recorded_checkpoint(digest) is None:
                text = f"{self.read_text(CHECKPOINTS)}{digest} {version}\n"
                with atomic_files.atomic_replace(self.folder / CHECKPOINTS) as temporary:
                    temporary.write_text(text)

    def import_bundled(self) -> None:
        """Add the shipped checkpoints that the registry lacks, each under a new number."""
        with self.lock:
            atomic_files.remove_temporary_files(self.folder)
            digests = {card.weights_digest for card in self.cards()}
            for path, card in _bundled():
                if card.weights_digest not in digests:
                    # Its job and its parent exist only where it was trained.
                    absent = {"job": None, "parent": None, "parent_checkpoint": None}
                    local_card = card.model_copy(update=absent)
                    self.save(checkpoint.read_verified(path), local_card)

    def _named(self) -> list[int]:
        """Return the existing versions that CURRENT names; none if it is a truncated copy."""
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
        # The copy first: if both are complete and differ, CURRENT is the newer one.
        for name in (COPY, CURRENT):
            self.write_numbers(name, history)

    def _before(self) -> list[int]:
        before = self.history()[1:]
        if not before:
            raise Conflict("There is no previous live version to roll back to.")
        return before


def _bundled() -> list[tuple[Path, Card]]:
    paths = sorted(SHIPPED.glob(f"*{checkpoint.SUFFIX}"))
    return [(path, checkpoint.read_card(path)) for path in paths]
