"""The commands of docs/protocols.md, run as they stand there."""

import os
import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs/protocols.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


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


@pytest.mark.parametrize("name", ["MYNET_PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"])
def test_the_containers_health_check_finds_it(service, name):
    for port, status in ((service.port, 0), (1, 1)):
        nowhere = {"AIP_HTTP_PORT": "1", "SAGEMAKER_BIND_TO_PORT": "1"}
        given = {"PATH": os.environ["PATH"], **nowhere, name: str(port)}
        done = subprocess.run([ROOT / "deploy/healthcheck"], env=given, check=False)
        assert done.returncode == status


@pytest.mark.parametrize(("host", "status"), [("0.0.0.0", 0), ("127.0.0.1", 0), ("127.0.0.2", 1)])
def test_the_containers_health_check_asks_where_it_listens(service, host, status):
    given = {"PATH": os.environ["PATH"], "MYNET_PORT": str(service.port), "MYNET_HOST": host}
    done = subprocess.run([ROOT / "deploy/healthcheck"], env=given, check=False)
    assert done.returncode == status
