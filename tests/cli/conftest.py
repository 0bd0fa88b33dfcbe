"""The command line as a function, on a state folder of the test."""

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from tests.conftest import png


@pytest.fixture
def run():
    """Run `mynet` with arguments, and return its exit code and output."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def mynet(tmp_path, monkeypatch, small_data_dir, run):
    """The same, on an empty state folder without a service."""
    monkeypatch.setenv("MYNET_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("MYNET_DATA_DIR", str(small_data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    return run


@pytest.fixture
def images(tmp_path, mnist):
    """Two image files, which show a 7 and a 2."""
    paths = []
    for index in (0, 1):
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(png(mnist.test.pixels[index].numpy()))
    return paths
