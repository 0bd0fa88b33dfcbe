"""`mynet datasets` on the state folder: a folder is sent as a zip."""

import json

import pytest

from mynet_client.dataset_calls import archive_of
from tests.conftest import png


@pytest.fixture
def folder(tmp_path, digits):
    """A folder with two sevens, one of them labelled 3, and a text."""
    root = tmp_path / "mine"
    for label, name in ((7, "a.png"), (3, "b.png")):
        (root / str(label)).mkdir(parents=True)
        (root / str(label) / name).write_bytes(png(digits[0]))
    (root / "3" / "notes.txt").write_text("none")
    (root / "7" / "link.png").symlink_to(root / "3" / "b.png")
    return root


def test_a_folder_is_uploaded_shown_trained_with_and_deleted(mynet, folder):
    done = mynet("datasets", "upload", str(folder))
    assert done.exit_code == 0, done.output
    assert "3: 1" in done.stdout and "7: 1" in done.stdout
    assert "rejected: 3/notes.txt: not_an_image" in done.stdout
    assert "suspect: 3/b.png is labelled 3, and read as 7" in done.stdout
    dataset = json.loads(mynet("datasets", "show", "mine", "--json").stdout)
    assert (dataset["images"], dataset["name"]) == (2, "mine")
    names = [entry["name"] for entry in json.loads(mynet("datasets", "--json").stdout)["data"]]
    assert names == ["mnist", "mnist-test", "corrections", "mine"]
    job = json.loads(mynet("train", "--dataset", "mnist", "--dataset", "mine", "--json").stdout)
    assert job["hyperparameters"]["datasets"] == ["mnist", dataset["id"]]
    refused = mynet("datasets", "delete", "mine")
    assert refused.exit_code != 0 and f"The job {job['id']} uses" in refused.output
    mynet("cancel", job["id"])
    assert mynet("datasets", "delete", "mine").exit_code == 0
    assert "does not exist" in mynet("datasets", "show", "mine").output
    assert "does not exist" in mynet("train", "--dataset", "mine").output


@pytest.mark.parametrize("url", [(), ("--url", "http://127.0.0.1:9")])
@pytest.mark.parametrize("name", ["bad name!", "../../x", "x" * 500, "mnist", ""])
def test_a_name_that_is_not_allowed_is_refused_before_the_import(mynet, folder, name, url):
    done = mynet("datasets", "upload", folder, "--name", name, *url)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("--name: ") and name[:60] in done.stderr
    assert not (folder.parent / "var").exists()


@pytest.mark.parametrize("name", ["meus dígitos", "a\udcff"])
def test_the_name_of_a_folder_that_is_not_allowed_asks_for_another(mynet, folder, name):
    try:
        renamed = folder.rename(folder.parent / name)
    except OSError:
        pytest.skip("this file system stores UTF-8 names alone")
    done = mynet("datasets", "upload", renamed)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"{name!r} is not allowed" in done.stderr
    assert done.stderr.endswith("Send it with --name.\n")
    assert mynet("datasets", "upload", renamed, "--name", "mine").exit_code == 0


def test_a_sweep_trains_every_job_with_the_same_data_sets(mynet):
    done = mynet(
        "sweeps", "start", "--epochs", "1", "--epochs", "2", "--dataset", "mnist", "--json"
    )
    assert json.loads(done.stdout)["hyperparameters"]["datasets"] == ["mnist"]


def test_the_archive_of_a_folder_holds_no_link(folder):
    assert b"a.png" in archive_of(folder)
    assert b"link.png" not in archive_of(folder)
    assert archive_of(b"as it is") == b"as it is"
