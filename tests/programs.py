"""Programs that some tests run beside the service."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def needed(name: str) -> str:
    """Find a program; without it a test is skipped on a person's machine, and fails in CI."""
    here = Path(sys.executable).parent  # some come as packages
    found = shutil.which(name, path=f"{here}:{os.environ['PATH']}:/usr/sbin")
    if found is None:
        assert "CI" not in os.environ, f"{name} is missing"
        pytest.skip(f"{name} is not installed")
    return found
