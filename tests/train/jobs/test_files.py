"""Clean-up of the files that jobs leave."""

from app.train.jobs import files


def test_only_what_unfinished_jobs_need_is_kept(tmp_path):
    corrections = ("a.corrections", "b.corrections")
    for name in ("a.pt", "a.lock", "b.pt", "b.lock", ".b.pt.1234.tmp", *corrections):
        (tmp_path / name).write_text("")
    for name in ("a", "b"):
        (tmp_path / name / "checkpoint").mkdir(parents=True)
    files.delete_finished(tmp_path, lambda job_id: job_id == "a", writers=False)
    expected_names = ["a", "a.corrections", "a.lock", "a.pt"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == expected_names
    assert (tmp_path / "a" / "checkpoint").exists()
