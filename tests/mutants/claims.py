"""The rows of `docs/explanation/guarantees.md`: a claim, and the tests that its row names."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
HEADING: Final = "| claim | test | rig |"


@dataclass(frozen=True, slots=True)
class Claim:
    """One row. `proof` is its cell of tests, and `rig` the cell beside it."""

    text: str
    proof: str
    rig: str

    @property
    def files(self) -> list[str]:
        return re.findall(r"`(tests/[\w/]+\.\w+)`", self.proof)

    @property
    def functions(self) -> list[str]:
        return re.findall(r"`(test_\w+)`", self.proof)

    def names(self, test: str) -> bool:
        """Return whether the row names a test, given as `file` or `file::function`."""
        file, _, function = test.partition("::")
        return file in self.files or function.partition("[")[0] in self.functions


def read_claims() -> list[Claim]:
    """Return all rows of the page, in order."""
    page = (ROOT / "docs/explanation/guarantees.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| ") and row != HEADING]
    return [Claim(*(cell.strip() for cell in row.strip("|").split("|"))) for row in rows]
