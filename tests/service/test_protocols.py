"""The commands of docs/protocols.md, run as they stand there."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT
from tests.service.running import serving

DOCUMENT = (ROOT / "docs/protocols.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    state = tmp_path_factory.mktemp("protocols") / "var"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIP_HEALTH_ROUTE", "/health")
        patch.setenv("AIP_PREDICT_ROUTE", "/read")
        with serving(state) as service:
            yield service


def commands():
    """Each command, and the line that it prints."""
    for block in BLOCKS:
        for part in block.removeprefix("$ ").split("\n$ "):
            *command, shown = part.strip().split("\n")
            yield "\n".join(command), shown


@pytest.mark.skipif(not shutil.which("curl"), reason="the commands are curl's")
@pytest.mark.parametrize(("command", "shown"), [*commands()])
def test_a_command_does_what_is_shown(service, command, shown):
    there = re.sub(r"localhost:\d+", f"127.0.0.1:{service.port}", command)
    there = there.replace("curl ", "curl --silent --show-error ")
    done = subprocess.run(
        ["bash", "-c", there], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pattern = ".*".join(map(re.escape, shown.split("…")))
    assert re.fullmatch(pattern, done.stdout), done.stdout


def test_the_example_of_tritonclient_runs(service, monkeypatch):
    pytest.importorskip("tritonclient.http")
    (example,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(example.replace("localhost:8000", f"127.0.0.1:{service.port}"), {})
