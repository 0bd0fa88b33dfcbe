"""Programs that some tests run beside the service."""

import os
import shutil
import sys
from glob import glob
from pathlib import Path

import pytest


def find_program(name: str, *folders: Path) -> str:
    """Find a program, there first; without it a test is skipped on a person's machine, and fails
    in CI.
    """
    # Some come as packages, and Debian keeps PostgreSQL's by their version.
    places = ["/usr/sbin", *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    python_dir = str(Path(sys.executable).parent)
    found = shutil.which(
        name, path=":".join([*map(str, folders), python_dir, os.environ["PATH"], *places])
    )
    if found is None:
        assert "CI" not in os.environ, f"{name} is missing"
        pytest.skip(f"{name} is not installed")
    return found
