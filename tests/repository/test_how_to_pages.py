"""The how-to and explanation pages name commands, settings and files that exist."""

import re
import subprocess

import pytest
import typer

from app.cli.main import app
from app.config.settings import API_KEY, API_KEY_FILE, PREFIX, URL, VARIABLES
from tests.conftest import ROOT

PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for folder in ("how-to", "explanation")
    for page in (ROOT / "docs" / folder).glob("*.md")
)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTINGS = {*VARIABLES, URL, API_KEY, API_KEY_FILE}
FOLDERS = "app|bench|client|data|deploy|docs|models|tests|tools"
every_page = pytest.mark.parametrize("page", PAGES)


def commands(page):
    """Return the shell commands of a page, without comments and with joined lines."""
    lines = "\n".join(BLOCK.findall((ROOT / page).read_text())).replace("\\\n", " ")
    return [line for line in lines.splitlines() if line and not line.startswith("#")]


def test_there_are_pages_with_commands():
    assert len(PAGES) > 15
    assert sum(len(commands(page)) for page in PAGES) > 100


@every_page
def test_shell_blocks_are_valid_shell(page):
    for block in BLOCK.findall((ROOT / page).read_text()):
        check = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert check.returncode == 0, f"{block}{check.stderr}"


@every_page
def test_commands_work_with_an_active_environment_and_an_older_curl(page):
    for command in commands(page):
        assert ".venv/bin/mynet" not in command, command
        assert "--json" not in command, command  # curl has it since 7.82 only
        # Without --editable, pip installs no shipped version: see docs/how-to/install.md.
        assert "pip install '." not in command, command


@every_page
def test_mynet_commands_exist(page):
    verbs = typer.main.get_command(app)
    for command in commands(page):
        for words in re.findall(r"(?:^|; |&& |\$\(|=\S+ |-- )mynet ([a-z]+(?: [a-z]+)?)", command):
            first, _, second = words.partition(" ")
            assert first in verbs.commands, command
            group = getattr(verbs.commands[first], "commands", None)
            assert not (group and second) or second in group, command


@every_page
def test_settings_that_pages_name_exist(page):
    named_settings = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", (ROOT / page).read_text()))
    assert named_settings - SETTINGS == set()


@every_page
def test_files_that_pages_name_exist(page):
    named_paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", (ROOT / page).read_text())
    assert [path for path in named_paths if not (ROOT / path).exists()] == []
