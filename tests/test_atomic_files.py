import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from sqlalchemy import create_engine

from app.atomic_files import atomic_replace, make_folder, remove, remove_temporary_files
from app.database import sqlite
from app.feedback import FeedbackStore
from app.train.worker import state
from app.versions.version_files import VersionFiles
from app.weights_import.parent import remove_temporary_uploads
from tests.conftest import ROOT
from tests.durability import assert_durable_file, assert_durable_folders, record_calls


def test_the_new_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_replace(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_replace(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    leftovers = (".1.safetensors.ab12.tmp", ".mynet.db.backup.ab12.tmp-journal")
    for name in (*leftovers, "1.safetensors", ".lock"):
        (tmp_path / name).write_text("")
    remove_temporary_files(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", "1.safetensors"]


def test_what_is_removed_is_gone_and_may_have_been_before(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    remove(path)
    remove(path)
    assert not path.exists()


def test_replacing_syncs_the_file_before_the_rename_and_its_folder_after(tmp_path):
    with record_calls() as calls, atomic_replace(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert_durable_file(calls, tmp_path / "file")


def test_make_folder_that_exists_leaves_it_alone(tmp_path):
    (tmp_path / "file").write_text("")
    with record_calls() as calls:
        make_folder(tmp_path)
    assert calls == []
    assert (tmp_path / "file").exists()


def test_make_folder_relative_path_syncs_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with record_calls() as calls:
        make_folder(Path("state/jobs"))
    assert_durable_folders(calls, tmp_path / "state", tmp_path / "state" / "jobs")


def test_make_folder_where_a_file_lies_raises(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(FileExistsError, match="file'"):
            make_folder(path)


def test_make_folder_at_once_in_many_threads_makes_it_once(tmp_path):
    count = 8
    barrier = Barrier(count)

    def make(path):
        barrier.wait()
        make_folder(path)
        return path.is_dir()

    with ThreadPoolExecutor(count) as pool:
        for round_ in range(20):
            paths = [tmp_path / str(round_) / "a" / "b"] * count
            assert all(pool.map(make, paths))


def test_make_folder_that_another_process_makes_first_is_synced_all_the_same(tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def racing_mkdir(path, *args, **kwargs):
        mkdir(path)  # the other process, between the look and the call
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", racing_mkdir)
    with record_calls() as calls:
        make_folder(tmp_path / "a")
    assert calls == [("mkdir", tmp_path / "a"), ("fsync", tmp_path)]


def _save_state(folder: Path) -> None:
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters())
    state.save(folder / "job.pt", model, optimizer, state.Position())


def _lock_job(folder: Path) -> None:
    with state.job_lock(folder, "job"):
        pass


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: sqlite.prepare(create_engine("sqlite://"), folder / "mynet.db"),
        VersionFiles,
        lambda folder: FeedbackStore(folder, 10),
        _save_state,
        _lock_job,
        remove_temporary_uploads,
    ],
    ids=["database", "versions", "corrections", "saved-state", "job-lock", "uploads"],
)
def test_a_new_folder_of_the_state_is_durable(tmp_path, make):
    with record_calls() as calls:
        make(tmp_path / "state" / "folder")
    assert_durable_folders(calls, tmp_path / "state", tmp_path / "state" / "folder")


def test_only_folders_of_one_run_are_made_without_a_sync():
    """Only tallies, which end with the service, lie in folders that `make_folder` does not make."""
    makers = {"mkdir", "makedirs", "copytree"}
    modules = {
        path.relative_to(ROOT / "app").as_posix()
        for path in (ROOT / "app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in makers
    }
    assert modules == {"atomic_files.py", "telemetry/worker_metrics.py"}
