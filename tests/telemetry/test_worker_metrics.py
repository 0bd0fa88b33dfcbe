import os
import subprocess
import sys

from filelock import FileLock

from app.telemetry.worker_metrics import WorkerMetricsFile, worker_metrics_dir

METRICS = {"mynet_images": [("mynet_images_total", {"outcome": "answered"}, 2.0)]}
METRICS_FROM_JSON = {"mynet_images": [["mynet_images_total", {"outcome": "answered"}, 2.0]]}


def test_what_one_writes_the_others_read(tmp_path):
    one, other = WorkerMetricsFile(tmp_path), WorkerMetricsFile(tmp_path)
    assert one.read_others() == []
    one.write(METRICS)
    assert other.read_others() == [(True, METRICS_FROM_JSON)]
    assert one.read_others() == [], "one's own is counted already"


def test_what_an_ended_process_counted_still_counts(tmp_path):
    code = (
        "import pathlib; from app.telemetry.worker_metrics import WorkerMetricsFile; "
        f"WorkerMetricsFile(pathlib.Path({str(tmp_path)!r})).write({METRICS})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert WorkerMetricsFile(tmp_path).read_others() == [(False, METRICS_FROM_JSON)]


def test_a_service_begins_empty_and_leaves_nothing(tmp_path):
    with worker_metrics_dir(tmp_path):
        (lock,) = tmp_path.glob(f"*-{os.getpid()}.lock")
        place = lock.with_suffix("")
        WorkerMetricsFile(place).write(METRICS)
    assert not place.exists()
    assert not lock.exists()


def test_places_of_services_that_are_gone_are_swept_and_others_stay(tmp_path):
    gone, there = tmp_path / "a-1", tmp_path / "b-2"
    for place in (gone, there):
        WorkerMetricsFile(place).write(METRICS)
        place.with_suffix(".lock").touch()
    with FileLock(there.with_suffix(".lock")), worker_metrics_dir(tmp_path):
        assert not gone.exists()
        assert len(list(there.glob("*.json"))) == 1
