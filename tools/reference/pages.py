"""Which generated page is made by which function."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.reference.command_line import cli_page
from tools.reference.metrics import metrics_page
from tools.reference.problems import problems_page
from tools.reference.settings import settings_page

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference"
PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "problems.md": problems_page,
    "metrics.md": metrics_page,
}
