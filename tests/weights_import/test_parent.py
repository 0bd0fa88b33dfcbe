"""The server's side of an import, with the worker played by a few lines."""

import asyncio
import json
import os
import sys
import threading

import pytest
from filelock import FileLock

from app.config.settings import Settings
from app.errors import InvalidField, MalformedRequest, NotReady, QueueFull
from app.versions import checkpoint
from app.versions.registry import Registry
from app.weights_import import parent
from app.weights_import.parent import import_upload, remove_temporary_uploads
from tests.durability import assert_durable_folders, record_calls
from tests.weights_import import stub

SECRETS = {
    "MYNET_ADMIN_KEY": "secret-of-the-admin",
    "MYNET_DATABASE_URL": "postgresql://mynet:secret-of-the-database@host/mynet",
    "AWS_ACCESS_KEY_ID": "secret-of-the-bucket",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket",
    "GOOGLE_APPLICATION_CREDENTIALS": "/secret-of-the-bucket.json",
    "MLFLOW_TRACKING_PASSWORD": "secret-of-mlflow",
    "HTTPS_PROXY": "http://user:secret-of-the-proxy@host:3128",
    "https_proxy": "http://user:secret-of-the-proxy@host:3128",
}


@pytest.fixture
def fake_worker(monkeypatch):
    """Replace the import process by a line of Python, which gets `request`."""
    return lambda code: monkeypatch.setattr(parent, "COMMAND", stub.command_for(code))


@pytest.fixture
def report(tmp_path):
    """A file in which a stub reports what it has."""
    return tmp_path / "report"


def upload(settings, content=b"weights", note=None):
    registry = Registry(settings.models_dir)
    card = asyncio.run(import_upload(settings, registry, content, note))
    assert card == registry.card(card.version), "it is the stored one"
    return card.version


def leftover_files(settings):
    return [path.name for path in settings.uploads_dir.iterdir() if path.name != ".lock"]


def test_the_upload_lies_in_the_state_folder_until_it_is_read(settings, fake_worker, report):
    fake_worker(
        f"report = open(request['path']).read() + os.path.dirname(request['path']); "
        f"open({str(report)!r}, 'w').write(report); {stub.code_for(stub.result_of())}"
    )
    version = upload(settings, note="mine")
    assert report.read_text() == f"weights{settings.uploads_dir}"
    assert leftover_files(settings) == []
    card = Registry(settings.models_dir).card(version)
    assert (card.origin, card.note, card.job) == ("uploaded", "mine", None)
    assert card.weights_digest == checkpoint.read_card(stub.WEIGHTS).weights_digest


def test_the_environment_of_the_worker_has_no_secret(settings, monkeypatch, fake_worker, report):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    fake_worker(
        "environment = open('/proc/self/environ').read() "
        "if os.path.exists('/proc/self/environ') else json.dumps(dict(os.environ)); "
        f"open({str(report)!r}, 'w').write(environment); {stub.code_for(stub.result_of())}"
    )
    upload(settings)
    environment = report.read_text()
    assert "PATH=" in environment
    assert "LC_ALL=C.UTF-8" in environment
    assert "secret" not in environment
    assert "MYNET_" not in environment, "settings reach it as a request, if at all"


def test_the_request_to_the_worker_has_no_secret_setting(tmp_path, fake_worker, report):
    settings = Settings(
        state_dir=tmp_path / "var",
        admin_key=SECRETS["MYNET_ADMIN_KEY"],
        database_url=f"sqlite:///{tmp_path}/secret-of-the-database.db",
        models_url=str(tmp_path / "secret-of-the-models"),
        ray_storage="s3://secret-of-ray",
    )
    fake_worker(
        f"open({str(report)!r}, 'w').write(json.dumps(request)); {stub.code_for(stub.result_of())}"
    )
    upload(settings)
    assert sorted(json.loads(report.read_text())) == [
        *("data_dir", "log_format", "log_level", "path", "threads")
    ]
    assert "secret" not in report.read_text()


def test_the_environment_keeps_a_proxy_without_a_password(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://host:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    environment = parent.allowed_environment()
    assert (environment["HTTPS_PROXY"], environment["no_proxy"]) == (
        "http://host:3128",
        "localhost",
    )


@pytest.mark.parametrize("error", [MalformedRequest, InvalidField, NotReady])
def test_refusals_come_back_as_they_are(settings, fake_worker, error):
    fake_worker(f"print(json.dumps({{'code': {error.code!r}, 'detail': 'The file is odd.'}}))")
    with pytest.raises(error, match=r"The file is odd\.") as excinfo:
        upload(settings)
    assert [field_error.field for field_error in excinfo.value.errors] == ["file"] * (
        error is InvalidField
    )
    assert leftover_files(settings) == []


@pytest.mark.parametrize(
    ("end", "code"),
    [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("os.close(1); time.sleep(0.2)", 0)],
)
def test_a_process_that_dies_is_a_refusal(settings, fake_worker, end, code):
    fake_worker(end)
    with pytest.raises(NotReady, match=f"ended with exit code {code}"):
        upload(settings)
    assert leftover_files(settings) == []


def test_a_process_that_cannot_even_start_is_a_refusal(settings, monkeypatch):
    monkeypatch.setattr(parent, "COMMAND", (sys.executable, "-c", "raise SystemExit(5)"))
    with pytest.raises(NotReady, match="exit code 5"):
        upload(settings)


@pytest.fixture
def long_exit(monkeypatch):
    """Wait for the end of a killed process, however long that takes on a busy machine."""
    monkeypatch.setattr(parent, "EXIT_TIMEOUT", 120)


@pytest.mark.usefixtures("long_exit")
def test_a_process_that_hangs_is_ended(settings, fake_worker, monkeypatch):
    pids = []
    monkeypatch.setattr(parent, "lower_priority", pids.append)
    fake_worker("time.sleep(600)")
    monkeypatch.setattr(parent, "IMPORT_TIMEOUT", 2.0)
    with pytest.raises(NotReady, match="not imported within 2 s"):
        upload(settings)
    assert leftover_files(settings) == []
    (pid,) = pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.usefixtures("long_exit")
def test_what_is_cancelled_leaves_neither_file_nor_process(settings, fake_worker, tmp_path):
    pid = tmp_path / "pid"
    fake_worker(f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)")

    async def cancel_upload():
        task = asyncio.create_task(
            import_upload(settings, Registry(settings.models_dir), b"weights", None)
        )
        while not (pid.exists() and pid.read_text()):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0)
        assert leftover_files(settings) == [], "a server that ends does not wait for the process"
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancel_upload())
    assert leftover_files(settings) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_the_process_leaves_the_cores_to_predictions(settings, fake_worker):
    fake_worker("print(json.dumps({'code': 'not_ready', 'detail': f'nice {os.nice(0)}'}))")
    with pytest.raises(NotReady, match=f"^nice {min(19, os.nice(0) + 10)}$"):
        upload(settings)


def test_uploads_are_imported_one_at_a_time(settings, fake_worker, tmp_path, monkeypatch):
    monkeypatch.setattr(parent, "LOCK_TIMEOUT", 240)  # for all of them on a busy machine
    # The second would find the first one's folder, were they at work at once.
    fake_worker(
        f"os.mkdir({str(tmp_path / 'busy')!r}); time.sleep(0.1); "
        f"os.rmdir({str(tmp_path / 'busy')!r}); {stub.code_for(stub.result_of())}"
    )
    registry = Registry(settings.models_dir)

    async def upload_all():
        uploads = (import_upload(settings, registry, b"x", None) for _ in range(3))
        return await asyncio.gather(*uploads)

    assert sorted(card.version for card in asyncio.run(upload_all())) == [1, 2, 3]


def test_who_waits_too_long_is_told_to_come_back(settings, monkeypatch):
    monkeypatch.setattr(parent, "LOCK_TIMEOUT", 0.1)
    settings.uploads_dir.mkdir(parents=True)
    with FileLock(settings.uploads_dir / ".lock"), pytest.raises(QueueFull) as excinfo:
        upload(settings)
    assert excinfo.value.retry_after is not None
    assert leftover_files(settings) == []


def test_an_empty_upload_is_refused_without_a_process(settings):
    with pytest.raises(MalformedRequest, match=r"body is empty\. Send a \.safetensors file"):
        upload(settings, b"")


def test_an_upload_makes_its_folder_durable(settings, fake_worker):
    fake_worker(stub.code_for(stub.result_of()))
    Registry(settings.models_dir)  # makes the state folder
    with record_calls() as calls:
        upload(settings)
    assert_durable_folders(calls, settings.uploads_dir)


def test_what_a_killed_server_left_is_swept(settings):
    remove_temporary_uploads(settings.uploads_dir)
    leftover = settings.uploads_dir / ".abcd.tmp"
    leftover.write_bytes(b"half an upload")
    remove_temporary_uploads(settings.uploads_dir)
    assert not leftover.exists()


def test_an_upload_that_is_under_way_elsewhere_is_not_swept(settings):
    remove_temporary_uploads(settings.uploads_dir)
    pending_upload = settings.uploads_dir / ".abcd.tmp"
    pending_upload.write_bytes(b"an upload")
    held, done = threading.Event(), threading.Event()

    def hold_lock():
        with FileLock(settings.uploads_dir / ".lock"):
            held.set()
            done.wait(120)

    thread = threading.Thread(target=hold_lock)
    thread.start()
    held.wait(120)
    remove_temporary_uploads(settings.uploads_dir)
    done.set()
    thread.join()
    assert pending_upload.exists()


@pytest.mark.parametrize(
    ("end", "error"),
    [("SIGXCPU", MalformedRequest), ("SIGSEGV", MalformedRequest), ("SIGKILL", NotReady)],
)
def test_a_file_that_breaks_its_reader_is_told_from_a_machine_in_need(
    settings, fake_worker, end, error
):
    fake_worker(f"print('reading', flush=True); import signal; os.kill(os.getpid(), signal.{end})")
    with pytest.raises(error):
        upload(settings)
    assert leftover_files(settings) == []


def test_a_process_that_breaks_before_it_reads_is_not_the_files_fault(settings, fake_worker):
    fake_worker("os.abort()")
    with pytest.raises(NotReady):
        upload(settings)
