"""Clean-up of the files that jobs leave in the state folder."""

import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Final

from app import atomic_files

PATTERNS: Final = ("*.pt", "*.corrections", "*.lock")


def delete_finished(folder: Path, is_needed: Callable[[str], bool], *, writers: bool) -> None:
    """Delete the files of jobs that are no longer needed.

    If there are no `writers`, temporary files of interrupted writes are deleted, too.
    """
    for path in chain.from_iterable(map(folder.glob, PATTERNS)):
        if not is_needed(path.stem):
            path.unlink(missing_ok=True)
    for checkpoints in folder.glob("*/"):
        if not is_needed(checkpoints.name):
            # A process that exits late may still write there. The next clean-up deletes the rest.
            shutil.rmtree(checkpoints, ignore_errors=True)
    if not writers:
        atomic_files.remove_temporary_files(folder)
