import asyncio
import os
import sys
from contextlib import closing

import pytest
import safetensors.numpy
import torch
from pydantic import SecretStr
from starlette.testclient import TestClient

from app import main
from app.atomic_files import PRIVATE, make_folder
from app.auth.keys import KeyStore, Scope
from app.config.settings import Settings
from app.errors import NotReady
from app.main import create_app
from app.server import server
from app.startup import (
    StartupError,
    check_keys,
    check_tracking,
    open_database,
    prepare_registry,
    prepare_service,
    prepare_worker,
)
from app.torch_net import MyNet, weights_of
from app.versions import checkpoint
from app.versions.registry import CURRENT, SHIPPED, Registry
from app.weights_import import parent
from tests.weights_import import stub


def prepare(settings):
    """Return the versions that a worker process opens."""
    with closing(open_database(settings, migrate=True)) as database:
        return prepare_worker(settings, database)


@pytest.fixture
def second(registry):
    return registry.save(weights_of(MyNet()), registry.card(1))


@pytest.mark.usefixtures("all_shipped")
def test_a_fresh_folder_serves_the_best_shipped_version(settings):
    registry = prepare_registry(settings)
    best = max(registry.cards(), key=lambda card: card.test_accuracy)
    assert registry.current() == best.version
    assert best.job is best.parent is None, "they are of another place"


def test_what_is_live_stays_live(settings, registry, second):
    registry.promote(second)
    assert prepare_registry(settings).current() == second


def test_a_damaged_live_version_gives_way_to_the_one_before(settings, registry, second, caplog):
    registry.promote(second)
    registry.path(second).write_bytes(b"damaged")
    assert prepare_registry(settings).current() == 1
    assert f"Version {second} is damaged" in caplog.text


def test_a_missing_live_version_gives_way_to_the_one_before(settings, registry, second):
    registry.promote(second)
    registry.path(second).unlink()
    assert prepare_registry(settings).current() == 1


def test_a_current_that_cannot_be_read_is_made_anew(settings, registry):
    (registry.folder / CURRENT).write_bytes(b"\xff\x00 nonsense\n")
    assert prepare_registry(settings).current() == 1


def test_a_damaged_shipped_version_is_copied_again(settings, registry):
    registry.path(1).write_bytes(b"damaged")
    opened = prepare_registry(settings)
    assert opened.card(opened.current()).weights_digest == (
        checkpoint.read_card(SHIPPED / "documented.safetensors").weights_digest
    )


def test_with_nothing_to_serve_there_is_no_start(settings, monkeypatch):
    monkeypatch.setattr(Registry, "import_bundled", lambda _: None)
    with pytest.raises(StartupError, match="this installation bundles none"):
        prepare_registry(settings)


@pytest.fixture
def new_checkpoint(settings, tmp_path, monkeypatch):
    """Settings whose checkpoint has weights that no version has; its import is quick."""
    weights = weights_of(MyNet())
    card = checkpoint.read_card(SHIPPED / "documented.safetensors")
    checkpoint.write(tmp_path / "new.safetensors", weights, card)
    digest = checkpoint.digest(weights)

    async def import_quickly(_settings, registry, _file, note):
        return registry.save(
            weights,
            card.model_copy(
                update={"origin": "checkpoint", "note": note, "weights_digest": digest}
            ),
        )

    monkeypatch.setattr("app.startup.import_checkpoint", import_quickly)
    return settings.model_copy(update={"checkpoint": tmp_path / "new.safetensors"})


def test_prepare_worker_new_checkpoint_goes_live_once(new_checkpoint, caplog):
    caplog.set_level("WARNING")
    assert prepare(new_checkpoint).current() == 2
    assert prepare(new_checkpoint).current() == 2
    assert not caplog.text
    prepare_registry(new_checkpoint).promote(1)
    assert prepare(new_checkpoint).current() == 1, "a promotion outlives a restart"
    assert caplog.text.count("checkpoint passed over") == 1
    assert "new.safetensors version=2 live=1" in caplog.text


def test_prepare_worker_deleted_checkpoint_is_passed_over(new_checkpoint, caplog):
    prepare(new_checkpoint).promote(1)
    prepare_registry(new_checkpoint).delete(2)
    registry = prepare(new_checkpoint)
    assert (registry.current(), registry.versions()) == (1, [1])
    assert "version=2 (deleted) live=1" in caplog.text


def test_prepare_worker_checkpoint_of_an_older_release_is_passed_over(
    new_checkpoint, registry, caplog
):
    """An older release imported it, and recorded nothing."""
    weights = checkpoint.read_weights(new_checkpoint.checkpoint)
    card = registry.card(1).model_copy(update={"weights_digest": checkpoint.digest(weights)})
    registry.save(weights, card)
    assert prepare(new_checkpoint).current() == 1
    assert "checkpoint passed over" in caplog.text


@pytest.mark.usefixtures("all_shipped")
def test_prepare_worker_shipped_checkpoint_goes_live_at_the_first_start(settings):
    file = SHIPPED / "documented.safetensors"
    settings = settings.model_copy(update={"checkpoint": file})
    registry = prepare(settings)
    live = registry.card(registry.current())
    assert live.weights_digest == checkpoint.read_card(file).weights_digest
    registry.promote(2)
    assert prepare(settings).current() == 2


def test_prepare_worker_vertex_storage_uri_goes_live_once(new_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without .env
    monkeypatch.setenv("AIP_STORAGE_URI", str(new_checkpoint.checkpoint))
    settings = Settings(state_dir=new_checkpoint.state_dir, data_dir=new_checkpoint.data_dir)
    prepare(settings).promote(1)
    assert prepare(settings).current() == 1


def test_a_service_starts_with_as_many_versions_as_are_kept(settings, registry):
    card = registry.card(1).model_copy(update={"weights_digest": "of others"})
    for _ in range(4):
        registry.save(weights_of(MyNet()), card)
    prepare(settings.model_copy(update={"keep_versions": 2}))
    assert registry.versions() == [1, 4, 5]


def test_a_checkpoint_that_is_none_stops_the_start(settings, tmp_path):
    (tmp_path / "none.pt").write_text("")
    with pytest.raises(StartupError, match=r"MYNET_CHECKPOINT: .*none\.pt is neither"):
        prepare(settings.model_copy(update={"checkpoint": tmp_path / "none.pt"}))


@pytest.fixture
def checkpoint_settings(settings, tmp_path):
    """Settings whose checkpoint is no version yet."""
    torch.save(MyNet().state_dict(), tmp_path / "unknown.pt")
    return settings.model_copy(update={"checkpoint": tmp_path / "unknown.pt"})


def test_a_checkpoint_that_is_refused_stops_the_start(checkpoint_settings, monkeypatch):
    code = """print('{"code": "not_ready", "detail": "MNIST could not be read."}')"""
    monkeypatch.setattr(parent, "COMMAND", stub.command_for(code))
    with pytest.raises(
        StartupError, match=r"unknown\.pt could not be imported: MNIST could not be read"
    ):
        prepare(checkpoint_settings)


def test_a_checkpoint_is_admitted_where_the_app_starts_without_a_server(
    checkpoint_settings, monkeypatch, tmp_path
):
    returned = tmp_path / "returned"
    returned.write_bytes(safetensors.numpy.save(weights_of(MyNet())))
    code = stub.code_for(stub.result_of(returned), returned)
    monkeypatch.setattr(parent, "COMMAND", stub.command_for(code))
    with TestClient(create_app(checkpoint_settings)) as client:
        assert client.get("/health/ready").json()["version"] == 2
        card = client.get("/models/2").json()
        assert (card["origin"], card["note"]) == ("checkpoint", "loaded from unknown.pt")


def test_what_a_killed_service_left_of_uploads_is_swept(settings):
    settings.uploads_dir.mkdir(parents=True)
    (settings.uploads_dir / ".abcd.tmp").write_bytes(b"half an upload")
    prepare(settings)
    assert not list(settings.uploads_dir.glob(".*.tmp"))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_folder_that_cannot_be_used_is_named_by_its_setting(settings, tmp_path, scheme):
    blocking_file = tmp_path / "in-the-way"
    blocking_file.write_text("")
    folder = f"{scheme}{blocking_file}"
    with pytest.raises(StartupError, match=f"^MYNET_MODELS_URL={folder} cannot be used: "):
        prepare_registry(settings.model_copy(update={"models_url": folder}))
    with pytest.raises(StartupError, match=f"^MYNET_STATE_DIR={blocking_file} cannot be used: "):
        prepare_registry(settings.model_copy(update={"state_dir": blocking_file}))


@pytest.mark.parametrize("url", ["nonsense", "nonsense://x", "mssql+nodriver://x/y"])
def test_a_database_url_that_cannot_be_used_is_named(settings, url):
    with pytest.raises(StartupError, match="MYNET_DATABASE_URL cannot be used"):
        open_database(settings.model_copy(update={"database_url": url}))


def test_tracking_that_is_not_installed_is_refused_in_words(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    check_tracking()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    words = r"MLFLOW_TRACKING_URI is set.*pip install '\.\[mlflow\]'"
    with pytest.raises(StartupError, match=words):
        server.run(settings.model_copy(update={"port": 0}))
    assert not settings.state_dir.exists(), "nothing was changed"


ADMIN_KEY_SETTINGS = {"admin_key": SecretStr("the-first-key-of-all")}
ALL_INTERFACES = {"host": "0.0.0.0"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        (ADMIN_KEY_SETTINGS, "MYNET_ADMIN_KEY is ignored"),
        (ALL_INTERFACES | ADMIN_KEY_SETTINGS, ""),
        (ALL_INTERFACES | {"auth": "none"}, ""),
        (ALL_INTERFACES | {"auth": "predict"}, "no API key exists"),
        (ALL_INTERFACES | {"auth": "keys"}, "no API key exists"),
    ],
)
def test_what_was_said_to_be_open_starts(settings, store, caplog, changes, message):
    check_keys(settings.model_copy(update=changes), store.database)
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)


def test_beyond_this_machine_nothing_starts_without_a_key(settings, store):
    settings = settings.model_copy(update=ALL_INTERFACES)
    keys = KeyStore(store.database)
    keys.create("old", [Scope.ADMIN], days=-1)
    with pytest.raises(StartupError, match=r"MYNET_HOST=0\.0\.0\.0 .* Set MYNET_ADMIN_KEY"):
        check_keys(settings, store.database)
    keys.create("new", [Scope.PREDICT])
    check_keys(settings, store.database)


def test_a_worker_tries_again_where_others_would_end_with_it(monkeypatch, caplog):
    attempts = []

    def open_resources():
        attempts.append(1)
        if len(attempts) < 4:
            raise NotReady("The database is locked.")
        return "begun"

    monkeypatch.setattr(main, "STARTUP_RETRY_INTERVAL", 0.0)
    with pytest.raises(NotReady):
        asyncio.run(main._open_with_retries(open_resources))
    monkeypatch.setattr(main.multiprocessing, "parent_process", lambda: "the server")
    assert asyncio.run(main._open_with_retries(open_resources)) == "begun"
    assert caplog.text.count("worker cannot start yet, retrying: The database is locked.") == 2
    attempts.clear()
    monkeypatch.setattr(main, "STARTUP_TIMEOUT", -1.0)
    with pytest.raises(NotReady):
        asyncio.run(main._open_with_retries(open_resources))
    assert len(attempts) == 1, "its time was over"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o700), (0o277, 0o500)])
def test_make_folder_private_honours_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        make_folder(tmp_path / "var", PRIVATE)
    finally:
        os.umask(before)
    assert (tmp_path / "var").stat().st_mode & 0o777 == mode


def test_prepare_service_existing_state_folder_that_others_can_read_warns(settings, caplog):
    settings.state_dir.mkdir()
    settings.state_dir.chmod(0o755)
    prepare_service(settings)
    assert f"other users can read {settings.state_dir}" in caplog.text
    assert settings.state_dir.stat().st_mode & 0o777 == 0o755


def test_prepare_service_creates_a_state_folder_for_its_owner_alone(settings, caplog):
    prepare_service(settings)
    assert settings.state_dir.stat().st_mode & 0o077 == 0
    assert "other users" not in caplog.text


def test_state_dict_whose_weights_a_version_has_is_not_stored_again(
    checkpoint_settings, registry, monkeypatch
):
    monkeypatch.setattr(parent, "COMMAND", stub.command_for(stub.code_for(stub.result_of())))
    assert prepare(checkpoint_settings).current() == 1
    assert registry.versions() == [1]
