"""Mutants as they stand in `patches/`, one file for each part of the page."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import utime
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "patches"
# Tests of whole services, stores and clusters: `make test` does not run them.
SLOW_TESTS: Final = ("tests/service/", "tests/buckets/", "tests/ray/", "tests/browser/")
# A time that no file of the tree has. Python takes bytecode for current by the time and the size.
MUTATED_AT: Final = 1_000_000_000


class MutantError(Exception):
    """A mutant that does not fit the code any more."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A patch: `text` of `file` becomes `replacement`, and one of `tests` must fail.

    `claim` is the beginning of a row of the page. `command` stands in place of `tests` if the row
    names no test.
    """

    area: str
    claim: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...] = ()
    command: str = ""

    @property
    def is_slow(self) -> bool:
        return bool(self.command) or any(test.startswith(SLOW_TESTS) for test in self.tests)

    def apply(self, source: str) -> str:
        """Return the source with the patch. Raises MutantError unless it fits exactly once."""
        count = source.count(self.text)
        if count != 1:
            raise MutantError(
                f"{self.file} has the text of a mutant {count} times instead of once. Write it "
                f"again in tests/mutants/patches/{self.area}.toml, for the claim {self.claim!r}:\n"
                f"{self.text}"
            )
        return source.replace(self.text, self.replacement)

    @contextmanager
    def applied(self, tree: Path) -> Iterator[None]:
        """Patch a copy of the tree, and undo it at the end. Raises MutantError, OSError."""
        path = tree / self.file
        source, times = path.read_text(), path.stat()
        path.write_text(self.apply(source))
        utime(path, (MUTATED_AT, MUTATED_AT + abs(hash(self)) % MUTATED_AT))
        try:
            yield
        finally:
            path.write_text(source)
            utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def read_mutants(folder: Path = FOLDER) -> list[Mutant]:
    """Return the mutants of all areas."""
    return [
        Mutant(path.stem, **(fields | {"tests": tuple(fields.get("tests", ()))}))
        for path in sorted(folder.glob("*.toml"))
        for fields in tomllib.loads(path.read_text())["mutant"]
    ]
