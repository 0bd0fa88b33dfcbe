"""Packages are installed by uv, and by pip where uv cannot."""

import subprocess

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "deploy" / "install-packages.sh"
UV_ARGUMENTS = ["-m", "uv", "pip", "install"]


@pytest.fixture
def install(tmp_path):
    """Return the exit status, and the commands that the script gives to Python."""
    python, log = tmp_path / "python", tmp_path / "log"

    def run(*arguments, fails=""):
        python.write_text(
            f'#!/bin/sh\necho "$@" >> {log}\ncase "$*" in {fails or "none"}) exit 3 ;; esac\n'
        )
        python.chmod(0o755)
        done = subprocess.run(["sh", SCRIPT, python, *arguments], check=False, text=True)
        return done.returncode, [line.split() for line in log.read_text().splitlines()]

    return run


def test_uv_installs_into_the_environment(install, tmp_path):
    status, (pip, uv) = install("--editable", ".[dev]")
    assert status == 0
    assert pip[:2] == ["-m", "pip"] and pip[-1] == "uv"
    assert uv == [
        *UV_ARGUMENTS,
        "--quiet",
        "--python",
        f"{tmp_path}/python",
        "--editable",
        ".[dev]",
    ]


@pytest.mark.parametrize("fails", ["*uv", "'-m uv'*"], ids=["uv is not found", "uv fails"])
def test_pip_installs_what_uv_cannot(install, fails):
    status, commands = install("--editable", ".[dev]", fails=fails)
    assert status == 0
    assert commands[-1][:2] == ["-m", "pip"]
    assert commands[-1][-3:] == ["--quiet", "--editable", ".[dev]"]


def test_what_neither_can_install_is_an_error(install):
    status, commands = install("nothing-of-that-name", fails="*nothing*")
    assert status == 3
    assert len(commands) == 3
