"""The scripts and the notebook in `examples`, run against services of their own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mynet_client import Client
from tests.conftest import ROOT, png
from tests.service.running import Service, run_service

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "tutorial.ipynb"


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory, small_data_dir: Path) -> Iterator[Service]:
    """A service that trains with 2,000 images."""
    state = tmp_path_factory.mktemp("examples") / "var"
    with run_service(state, data_dir=small_data_dir, train_threads=1) as service:
        yield service


def run_python(*arguments, service=None):
    """Run Python as a person would, with the address of the service in its environment."""
    environment = dict(os.environ)
    if service:
        environment["MYNET_URL"] = f"http://127.0.0.1:{service.port}"
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


# Paths in a folder of corrections, and the test images there.
SCANS = (("7/first.png", 0), ("7/second.png", 17), ("2/two.png", 1), ("not_a_digit/x.png", 2))


@pytest.fixture
def corrections(tmp_path, mnist):
    """A folder of corrections: two sevens, a two, no digit, and a file that is not an image."""
    folder = tmp_path / "corrections"
    for name, index in SCANS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(mnist.test.pixels[index].numpy()))
    (folder / "2" / "notes.txt").write_text("not an image")
    return folder


QUICK = ("--recipe", "documented", "--epochs", "1")


def test_retrain_sends_the_folder_and_the_version_that_learned_it_goes_live(trainer, corrections):
    arguments = (EXAMPLES / "retrain.py", corrections, *QUICK, "--promote", "always")
    done = run_python(*arguments, service=trainer)
    assert done.returncode == 0, done.stderr
    assert f"{corrections / '2' / 'notes.txt'}: " in done.stdout
    assert "4 corrections sent" in done.stdout
    assert re.search(r"^epoch 0: test accuracy \d+\.\d\d%$", done.stdout, re.MULTILINE)
    version = int(re.search(r"^Version (\d+) is live: ", done.stdout, re.MULTILINE)[1])
    assert trainer.get("/models")["current"] == version
    assert trainer.get(f"/models/{version}")["feedback"] == 3, "the recipe learns digits alone"
    labels = [correction["label"] for correction in trainer.get("/feedback")["data"]]
    assert labels.count(7) == 2 and labels.count(2) == 1 and labels.count(None) == 1


def test_retrain_by_default_promotes_only_a_better_version(trainer, corrections):
    with Client(f"http://127.0.0.1:{trainer.port}") as mynet:
        mynet.promote(1)  # the documented recipe's network, trained with all of MNIST
    done = run_python(EXAMPLES / "retrain.py", corrections, *QUICK, service=trainer)
    assert done.returncode == 0, done.stderr
    assert "is stored, but not live: " in done.stdout
    assert trainer.get("/models")["current"] == 1


def test_retrain_without_images_starts_no_training(trainer, tmp_path):
    jobs = len(trainer.get("/train")["data"])
    done = run_python(EXAMPLES / "retrain.py", tmp_path, service=trainer)
    assert done.returncode == 1
    assert "has no images in folders named 0 to 9" in done.stderr
    assert len(trainer.get("/train")["data"]) == jobs


def test_retrain_without_a_service_fails_in_words(corrections):
    done = run_python(EXAMPLES / "retrain.py", corrections, "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def notebook_code(**parameters):
    """Return the notebook's code cells as one script, with other values for its parameters."""
    script = []
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            script.append("".join(cell["source"]))
            if "parameters" in cell["metadata"].get("tags", []):
                script += [f"{name} = {value!r}" for name, value in parameters.items()]
    return "\n".join(script)


def test_notebook_losses_are_equal_to_the_last_bit(trainer, small_data_dir):
    parameters = {
        "URL": f"http://127.0.0.1:{trainer.port}",
        "DATA": str(small_data_dir),
        "EPOCHS": 6,
    }
    done = run_python("-c", notebook_code(**parameters))
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^ +(\d+) +20 +(\d\S+) +(\d\S+) *$", done.stdout, re.MULTILINE)
    assert [int(epoch) for epoch, _, _ in rows] == [*range(6)]
    assert all(local == remote for _, local, remote in rows)
    assert len({local for _, local, _ in rows}) == 6
    assert "equal to the last bit: True" in done.stdout
