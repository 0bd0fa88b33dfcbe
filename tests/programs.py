"""Programs of the system that some tests run beside the service."""

import os
import shutil
from glob import glob

import pytest


def needed(name: str) -> str:
    """Find a program; without it a test is skipped on a person's machine, and fails in CI."""
    # Debian keeps PostgreSQL's by their version.
    places = ["/usr/sbin", *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    found = shutil.which(name, path=":".join([os.environ["PATH"], *places]))
    if found is None:
        assert "CI" not in os.environ, f"{name} is missing"
        pytest.skip(f"{name} is not installed")
    return found
