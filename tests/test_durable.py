import pytest

from app.durable import remove, replacing, sweep


def test_the_new_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    for name in (".1.safetensors.ab12.tmp", "1.safetensors", ".lock"):
        (tmp_path / name).write_text("")
    sweep(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".lock", "1.safetensors"]


def test_what_is_removed_is_gone_and_may_have_been_before(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    remove(path)
    remove(path)
    assert not path.exists()
