"""Room that is kept for bad days: a file that is given up where the disk is full.

What enters: where it lies. What leaves: space, so that what went wrong can still be told. This
module does not know what it is used for.
"""

import logging
from pathlib import Path
from typing import Final

from app.atomic_files import replacing

SIZE: Final = 4 * 1024**2
log = logging.getLogger(__name__)


class Reserve:
    """A file of zeros, four mebibytes, in the name of those who write beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self) -> None:
        """Make the file where it is missing and there is room for it."""
        if self.path.exists():
            return
        try:
            with replacing(self.path) as temporary:
                temporary.write_bytes(bytes(SIZE))
        except OSError as error:
            log.warning("there is no room for %s: %s", self.path, error)

    def give_up(self) -> bool:
        """Remove the file, and say whether it was there."""
        try:
            self.path.unlink()
        except OSError:
            return False
        log.error("the disk is full: %s was given up to tell of it", self.path)
        return True
