"""The commands of docs/reference/protocols.md, run as they stand there."""

import os
import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs/reference/protocols.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def commands():
    """Each command, and the line that it prints."""
    for block in BLOCKS:
        for part in block.removeprefix("$ ").split("\n$ "):
            *command, expected_output = part.strip().split("\n")
            yield "\n".join(command), expected_output


@pytest.mark.skipif(not shutil.which("curl"), reason="the commands are curl's")
@pytest.mark.parametrize(("command", "expected_output"), [*commands()])
def test_a_command_does_what_is_shown(service, command, expected_output):
    local_command = re.sub(r"localhost:\d+", f"127.0.0.1:{service.port}", command)
    local_command = local_command.replace("curl ", "curl --silent --show-error ")
    done = subprocess.run(
        ["bash", "-c", local_command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pattern = ".*".join(map(re.escape, expected_output.split("…")))
    assert re.fullmatch(pattern, done.stdout), done.stdout


@pytest.mark.parametrize("name", ["MYNET_PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"])
def test_the_containers_health_check_finds_it(service, name):
    for port, status in ((service.port, 0), (1, 1)):
        other_ports = {"AIP_HTTP_PORT": "1", "SAGEMAKER_BIND_TO_PORT": "1"}
        environment = {"PATH": os.environ["PATH"], **other_ports, name: str(port)}
        done = subprocess.run([ROOT / "deploy/healthcheck"], env=environment, check=False)
        assert done.returncode == status


@pytest.mark.parametrize(("host", "status"), [("0.0.0.0", 0), ("127.0.0.1", 0), ("127.0.0.2", 1)])
def test_the_containers_health_check_asks_where_it_listens(service, host, status):
    environment = {"PATH": os.environ["PATH"], "MYNET_PORT": str(service.port), "MYNET_HOST": host}
    done = subprocess.run([ROOT / "deploy/healthcheck"], env=environment, check=False)
    assert done.returncode == status
