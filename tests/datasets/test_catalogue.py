"""Storage of data sets: a row and a file, repaired after a crash at any line, on every database."""

import errno
import secrets

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from app.atomic_files import atomic_replace
from app.database.datasets import DatasetStore
from app.database.jobs import JobStore
from app.database.sweeps import SweepStore
from app.datasets import catalogue
from app.datasets.catalogue import Datasets, open_datasets
from app.datasets.files import DatasetFiles
from app.errors import Conflict, InvalidField, NotFound, NotReady
from app.feedback import FeedbackStore
from app.mnist.files import LabelledImages
from app.startup import prepare_worker
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.named_datasets import with_ids
from app.train.jobs.sweep_grid import Grid
from app.versions.bucket.object_store import Bucket, BucketUnavailable
from tests.conftest import DATA
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture
def datasets(settings, database):
    return open_datasets(settings, database)


@pytest.fixture
def sample(images):
    return LabelledImages(*images)


@pytest.fixture
def bucket():
    return Bucket(MemoryFileSystem(), f"{secrets.token_hex(4)}/mynet")


@pytest.fixture
def service(tmp_path, database, bucket):
    """Return a function that opens the data sets of a service with a state folder of its own."""

    def service(name):
        folder = tmp_path / name
        feedback = FeedbackStore(folder / "feedback", 10)
        store = DatasetStore(database)
        return Datasets(store, DatasetFiles(folder / "datasets", bucket), feedback, DATA)

    return service


def kill_at(patch, target, name, number=1):
    """Make the call of this number raise Killed."""
    original, calls = getattr(target, name), []

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            raise Killed
        return original(*args, **kwargs)

    patch.setattr(target, name, killed)


def names(datasets):
    return [dataset.name for dataset in datasets.all()][3:]


def files(datasets):
    return sorted(path.name for path in datasets.files.folder.iterdir() if path.name != ".lock")


def test_part_of_larger_arrays_comes_back_as_it_was(datasets, sample):
    part = LabelledImages(sample.pixels[::2], sample.labels[::2])
    stored, _ = datasets.add("every-second", part)
    again = datasets.images(stored)
    assert np.array_equal(again.pixels, part.pixels)
    assert np.array_equal(again.labels, part.labels)


@pytest.mark.parametrize(
    "name", ["meus dígitos", "bad name!", "../../x", "x" * 65, "", ".x", "x\n", "a\udcff", "0" * 16]
)
def test_a_name_that_no_training_accepts_is_refused(datasets, sample, name):
    with pytest.raises(InvalidField) as refusal:
        datasets.add(name, sample)
    assert [error.field for error in refusal.value.errors] == ["name"]
    assert datasets.files.ids() == []


def test_a_data_set_comes_back_as_it_was(datasets, sample):
    stored, is_new = datasets.add("mine", sample)
    assert is_new and datasets.get("mine") == datasets.get(stored.id) == stored
    found = datasets.images(stored)
    assert np.array_equal(found.pixels, sample.pixels)
    assert np.array_equal(found.labels, sample.labels)
    with pytest.raises(NotFound):
        datasets.get("with\0nul")


@pytest.mark.parametrize(
    ("target", "name", "is_stored"),
    [("app.atomic_files._fsync", None, False), ("store", "add", True)],
    ids=["while-the-file-is-written", "before-the-row"],
)
def test_an_upload_whose_process_dies_is_stored_completely_or_not_at_all(
    datasets, database, sample, settings, monkeypatch, target, name, is_stored
):
    with monkeypatch.context() as patch:
        if name:
            kill_at(patch, datasets.store, name)
        else:
            patch.setattr(target, lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            datasets.add("mine", sample)
    (datasets.files.folder / ".x.safetensors.1234.tmp").write_bytes(b"partial")
    prepare_worker(settings, database)
    assert names(datasets) == (["mine"] if is_stored else [])
    assert len(files(datasets)) == is_stored
    stored, is_new = datasets.add("mine", sample)
    assert is_new is not is_stored
    assert len(datasets.images(stored).labels) == 20


def raise_after(patch, target, name, error):
    """Make a call do its work, and raise an error then."""
    original = getattr(target, name)

    def call(*args):
        original(*args)
        raise error

    patch.setattr(target, name, call)


@pytest.mark.parametrize(
    ("target", "name", "error"),
    [
        ("files", "store", OSError(errno.EIO, "the folder was not synced")),
        ("files", "store", BucketUnavailable(OSError("away"))),
        ("store", "add", NotReady("The database does not answer.")),
    ],
    ids=["folder", "bucket", "row"],
)
def test_an_upload_that_fails_leaves_neither_a_file_nor_a_row(
    service, sample, bucket, monkeypatch, target, name, error
):
    one = service("one")
    with monkeypatch.context() as patch:
        raise_after(patch, getattr(one, target), name, error)
        with pytest.raises(type(error)):
            one.add("mine", sample)
    assert (files(one), len(bucket.sizes()), one.store.ids()) == ([], 0, set())
    one.repair()
    assert names(one) == [], "the client got an error"
    assert one.add("mine", sample)[1]


def test_an_upload_that_fails_stays_if_a_job_uses_it(datasets, sample, store, monkeypatch):
    def add_and_use(row):
        monkeypatch.undo()
        datasets.store.add(row)
        request = with_ids(Hyperparameters(datasets=["mine"]), datasets)
        jobs.create(store, request, max_queued=9, key=None)
        raise NotReady("The database does not answer.")

    monkeypatch.setattr(datasets.store, "add", add_and_use)
    with pytest.raises(NotReady):
        datasets.add("mine", sample)
    assert len(datasets.images(datasets.get("mine")).labels) == 20


@pytest.mark.parametrize(("target", "name"), [("files", "remove"), ("store", "remove")])
def test_a_deletion_whose_process_dies_is_finished(datasets, sample, monkeypatch, target, name):
    stored, _ = datasets.add("mine", sample)
    with monkeypatch.context() as patch:
        kill_at(patch, getattr(datasets, target), name)
        with pytest.raises(Killed):
            datasets.delete("mine")
    assert names(datasets) == [], "it is deleted for clients at once"
    datasets.repair()
    assert (names(datasets), files(datasets)) == ([], [])
    assert stored.id not in datasets.store.ids()


def test_a_lost_row_is_restored_from_the_file(datasets, sample):
    stored, _ = datasets.add("mine", sample)
    datasets.store.remove(stored.id)
    datasets.repair()
    assert datasets.get("mine") == stored


def test_a_file_that_was_sent_again_or_is_damaged_stays_out(datasets, sample, caplog):
    first, _ = datasets.add("mine", sample)
    datasets.store.remove(first.id)
    second, _ = datasets.add("mine", sample)
    with atomic_replace(datasets.files.local_path("0" * 16)) as temporary:
        temporary.write_bytes(b"damaged")
    datasets.repair()
    assert datasets.get("mine") == second
    assert files(datasets) == sorted([f"{second.id}.safetensors", f"{'0' * 16}.safetensors"])
    assert "has no readable record" in caplog.text


def test_an_unfinished_job_keeps_its_data_sets(datasets, sample, store):
    train, _ = datasets.add("mine", sample)
    test, _ = datasets.add("held-out", sample)
    hyperparameters = Hyperparameters(datasets=["mnist", train.id], test_dataset=test.id)
    job = jobs.create(store, hyperparameters, max_queued=9, key=None)
    for name in ("mine", test.id):
        with pytest.raises(Conflict, match=f"The job {job.id} uses the data set"):
            datasets.delete(name)
    jobs.cancel(store, job.id)
    datasets.delete("mine")
    assert names(datasets) == ["held-out"]


def test_a_damaged_file_is_no_data_set(datasets, sample):
    stored, _ = datasets.add("mine", sample)
    path = datasets.files.local_path(stored.id)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Conflict, match="is damaged"):
        datasets.images(stored)


def test_another_service_fetches_the_file_from_the_bucket(service, sample):
    one, other = service("one"), service("other")
    stored, _ = one.add("mine", sample)
    assert len(other.images(other.get("mine")).labels) == 20
    path = other.files.local_path(stored.id)
    path.write_bytes(b"damaged")
    assert len(other.images(stored).labels) == 20, "it is fetched again"
    one.delete("mine")
    other.repair()
    assert (names(other), files(other)) == ([], []), "a service restored what another one deleted"


def test_without_a_common_folder_or_bucket_the_images_are_missed_in_words(service, sample, bucket):
    one, other = service("one"), service("other")
    stored, _ = one.add("mine", sample)
    bucket.remove(bucket.sizes())
    with pytest.raises(NotReady, match="MYNET_MODELS_URL"):
        other.images(stored)


def test_a_bucket_that_is_away_delays_a_deletion(service, sample, bucket, monkeypatch):
    one = service("one")
    one.add("mine", sample)
    with monkeypatch.context() as patch:

        def fail(_):
            raise BucketUnavailable(OSError("away"))

        patch.setattr(bucket, "remove", fail)
        one.delete("mine")
    assert names(one) == [] and len(bucket.sizes()) == 1
    one.repair()
    assert (len(bucket.sizes()), files(one), one.store.ids()) == (0, [], set())


def test_the_start_of_a_service_without_its_bucket_goes_on(settings, database, monkeypatch, caplog):
    def fail(_):
        raise BucketUnavailable(OSError("away"))

    monkeypatch.setattr(Datasets, "repair", fail)
    catalogue.clean_up(settings, database)
    assert "data sets are repaired at the next start" in caplog.text


def test_the_backup_is_renewed_when_a_data_set_comes(database, datasets, sample):
    if database.backup is None:
        pytest.skip("PostgreSQL has backups of its own")
    database.backup.back_up()
    before = database.backup.copy.stat().st_ino
    datasets.add("mine", sample)
    database.backup.back_up()
    assert database.backup.copy.stat().st_ino != before


@pytest.mark.parametrize("field", ["datasets", "test_dataset"])
@pytest.mark.parametrize(
    ("create", "request_type", "store_type"),
    [(jobs.create, Hyperparameters, JobStore), (sweep.create, Grid, SweepStore)],
)
def test_a_data_set_that_is_deleted_before_a_job_is_queued_refuses_it(
    datasets, sample, database, create, request_type, store_type, field
):
    stored, _ = datasets.add("mine", sample)
    request = request_type(**{field: ["mine"] if field == "datasets" else "mine"})
    checked = with_ids(request, datasets)
    datasets.delete("mine")
    with pytest.raises(InvalidField, match=f"^{field}: the data set {stored.id} was deleted"):
        create(store_type(database), checked, max_queued=9, key=None)
    assert JobStore(database).count_jobs() == {}
