"""Programs that some tests run beside the service."""

import os
import shutil
import subprocess
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


def write_certificate(folder: Path, name: str) -> Path:
    """Write `cert.pem`, self-signed for this host, and `key.pem`. Return the path of the first."""
    path = folder / "cert.pem"
    subprocess.run(
        [find_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}", "-keyout", folder / "key.pem", "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    return path
