"""The commands of a Markdown page, run in one shell against a service."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.conftest import ROOT
from tests.service.documents.pages import Step

ADDRESS: Final = re.compile(r"\b(localhost|127\.0\.0\.1):8000\b")
SERVE: Final = re.compile(r"^make serve\b.*$", re.MULTILINE)
TIMEOUT: Final = 500
# Without --fail curl would succeed with whatever the service answers.
PRELUDE: Final = """\
set -euo pipefail
curl() { command curl --silent --show-error $FAIL "$@"; }
"""


class Run(NamedTuple):
    """The output of each step until one failed; `errors` is that one's, and standard error."""

    outputs: list[str]
    errors: str


def run(steps: Sequence[Step], port: int, folder: Path) -> Run:
    """Run the commands in order, in a copy of the repository that is made of links."""
    script = PRELUDE + "".join(_shell(number, step, port) for number, step in enumerate(steps))
    environment = {**os.environ, "OUTPUTS": str(folder), "PYTHON": sys.executable, "COLUMNS": "100"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=_checkout(folder),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    outputs = [folder / f"{number}.out" for number in range(len(steps))]
    texts = [path.read_text() for path in outputs if path.exists()]
    failed = texts.pop() if done.returncode and texts else ""
    return Run(texts, f"{failed}{done.stderr}")


def _shell(number: int, step: Step, port: int) -> str:
    """Return a command as part of the script: variables that it sets stay for the next ones."""
    command = ADDRESS.sub(f"127.0.0.1:{port}", SERVE.sub("", step.command.content))
    if step.command.language == "python":
        command = f"\"$PYTHON\" - <<'END OF PYTHON'\n{command}END OF PYTHON\n"
    fail = "" if step.problem_code else "--fail-with-body"
    return f'FAIL={fail}\n{{ :\n{command}}} > "$OUTPUTS/{number}.out"\n'


def _checkout(folder: Path) -> Path:
    """Make a folder that looks like the repository, so that files that commands write stay in it.

    `.venv` is the environment of the tests.
    """
    checkout = folder / "checkout"
    checkout.mkdir()
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "var":
            (checkout / path.name).symlink_to(path)
    (checkout / ".venv").symlink_to(sys.prefix)
    (checkout / "var").symlink_to(folder / "var")
    return checkout
