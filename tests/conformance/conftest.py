"""Conformance tests: real clients in an environment of their own, and a service in MyNet's.

`make test-conformance` passes the command of the service in `SERVICE`. Only test_contract.py may
import the app: it runs in MyNet's environment, without `SERVICE`.
"""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from tests.service.running import run_service

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "data/MNIST/raw/t10k-images-idx3-ubyte.gz"
HEAD, IMAGE = 16, 28 * 28
IN_OUR_ENVIRONMENT = {"test_contract.py"}
ALL = {path.name for path in Path(__file__).parent.glob("test_*.py")}
collect_ignore = [*(IN_OUR_ENVIRONMENT if "SERVICE" in os.environ else ALL - IN_OUR_ENVIRONMENT)]


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    state = tmp_path_factory.mktemp("conformance") / "var"
    with run_service(state) as service:
        yield service


@pytest.fixture(scope="session")
def address(service):
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture(scope="session")
def digits():
    """The first four test images, (4, 28, 28): 7, 2, 1, 0."""
    with gzip.open(IMAGES) as file:
        pixels = file.read(HEAD + 4 * IMAGE)[HEAD:]
    return np.frombuffer(pixels, np.uint8).reshape(4, 28, 28)


@pytest.fixture(scope="session")
def seven():
    """A photo of a seven, as JPEG."""
    return (ROOT / "docs/images/seven.jpg").read_bytes()
