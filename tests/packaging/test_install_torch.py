"""PyTorch's wheels come alone where a lock brings what they need, and else with it."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LOCK = ROOT / "deploy" / "lock" / "default.txt"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the script installs nothing on other systems"
)


@pytest.fixture
def install(tmp_path):
    """Return what the script asks pip for, where the index answers and there is no GPU."""
    programs = {
        # The index is asked by a script on its standard input; pip is `-m pip`.
        "python": '[ "$1" = - ] || echo "$@"',
        "nvidia-smi": "exit 1",
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def run(*arguments):
        command = ["sh", ROOT / "deploy" / "install-torch.sh", tmp_path / "python", *arguments]
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return "".join(re.findall(r"^-m pip .*$", done.stdout, re.MULTILINE))

    return run


def test_with_a_lock_its_versions_come_without_what_they_need(install):
    pip_arguments = install("https://index.example/whl/cpu", LOCK)
    (torch,) = re.findall(r"^torch==\S+", LOCK.read_text(), re.MULTILINE)
    (vision,) = re.findall(r"^torchvision==\S+", LOCK.read_text(), re.MULTILINE)
    assert pip_arguments.endswith(
        f"--index-url https://index.example/whl/cpu --no-deps {torch} {vision}"
    )


def test_without_a_lock_what_they_need_comes_too(install):
    pip_arguments = install("https://index.example/whl/cpu")
    assert pip_arguments.endswith(" torch torchvision")
    assert "--no-deps" not in pip_arguments


def test_another_cuda_comes_with_its_libraries(install):
    pip_arguments = install("https://index.example/whl/cu130", LOCK)
    assert "torch==" in pip_arguments
    assert "--no-deps" not in pip_arguments


def test_without_an_index_nothing_is_asked_for(install):
    assert install("", LOCK) == ""
