"""Every command of these pages runs as printed, against a service, and answers as shown."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.service.documents import pages, running
from tests.service.running import run_service

PAGES = [
    "README.md",
    "docs/tutorial/first-digit-to-rollback.md",
    "docs/tutorial/train-on-your-own-images.md",
    "docs/reference/http-api.md",
    "docs/reference/events.md",
]


def test_every_tutorial_is_run() -> None:
    tutorials = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/tutorial/*.md")}
    assert tutorials <= set(PAGES)


@pytest.mark.skipif(not shutil.which("curl"), reason="the commands are curl's")
@pytest.mark.parametrize("page", PAGES)
def test_documented_command_answers_as_shown(page: str, tmp_path: Path) -> None:
    steps = pages.steps((ROOT / page).read_text())
    assert steps, f"{page} has no commands"
    with run_service(tmp_path / "var") as service:
        outputs, errors = running.run(steps, service.port, tmp_path)
    for step, output in zip(steps, outputs, strict=False):
        differences = step.differences(output)
        assert not differences, f"{page}, line {step.command.line}: {differences}"
    if len(outputs) < len(steps):
        failed = steps[len(outputs)].command
        pytest.fail(f"{page}, line {failed.line} failed:\n{failed.content}{errors}")
