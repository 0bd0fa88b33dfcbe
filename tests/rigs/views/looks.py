"""What is wrong with a view as it stands in the browser, found without looking at it."""

from pathlib import Path
from typing import Any, Final

SCRIPT: Final = Path(__file__).with_name("looks.js").read_text().rstrip().rstrip(";")


def laid_out_wrong(page: Any) -> list[str]:
    """Return what is cut off or reaches out of the window."""
    return list(_ask(page, "laidOut"))


def texts(page: Any) -> set[str]:
    """Return what the view says, with its names for a screen reader."""
    return set(_ask(page, "texts"))


def height(page: Any) -> int:
    """Return the height of the view in CSS pixels."""
    return int(_ask(page, "height"))


def _ask(page: Any, name: str) -> Any:
    return page.evaluate(f"{SCRIPT}.{name}()")


def violations(page: Any, axe: str) -> list[str]:
    """Return the serious violations that axe finds."""
    if not axe:
        return []
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{violation['id']}: {[node['html'][:90] for node in violation['nodes'][:3]]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
