"""Service startup: opens the registry, makes a version live, and opens the database."""

import asyncio
import hashlib
import logging
import multiprocessing
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from app.atomic_files import PRIVATE, make_folder
from app.auth.keys import KeyStore
from app.config.environment import service_links
from app.config.settings import PREFIX, Settings
from app.database.database import Database
from app.database.engine import hint, open_engine
from app.database.schema import SchemaMismatch, SchemaStatus, status_of
from app.database.sweeps import SweepStore
from app.datasets import catalogue
from app.devices import DeviceUnavailable, is_torch_installed
from app.errors import Conflict, NotReady, ServiceError
from app.feedback import FeedbackStore
from app.train.supervisor import mlflow_process
from app.versions import checkpoint, weights_file
from app.versions.bucket.object_store import BucketUnavailable, InvalidBucket
from app.versions.checkpoint import BadCheckpoint
from app.versions.opening import open_registry
from app.versions.registry import Registry
from app.versions.retention import delete_old_versions
from app.weights_import.parent import import_checkpoint, remove_temporary_uploads
from app.weights_import.store import version_with

log = logging.getLogger(__name__)


class StartupError(Exception):
    """The service cannot start. The message names the cause and the remedy."""


STARTUP_ERRORS: Final = (BadCheckpoint, DeviceUnavailable, StartupError, ServiceError, OSError)


def prepare_registry(settings: Settings) -> Registry:
    """Open the versions, import the bundled ones, and make one of them live.

    Raises BadCheckpoint, StartupError.
    """
    with _translate_registry_errors(settings):
        registry = open_registry(settings)
        registry.check_writable()
        registry.import_bundled()
        registry.repair()
    while True:
        live = registry.current()
        version = _first_loadable_version(registry)
        if version is None:
            raise StartupError(
                f"{registry.folder} contains no valid version, and this installation bundles none. "
                "Set MYNET_CHECKPOINT, or reinstall MyNet."
            )
        # Another process may promote a version at the same time; its promotion is kept.
        if version == live or registry.promote(version, expected=live):
            return registry


@contextmanager
def _translate_registry_errors(settings: Settings) -> Iterator[None]:
    """Raise a StartupError that names the setting if the versions cannot be opened."""
    try:
        yield
    except (InvalidBucket, BucketUnavailable) as error:
        problem = error.problem if isinstance(error, BucketUnavailable) else error
        raise _setting_error("MODELS_URL", settings.models_url, problem) from error
    except OSError as error:
        if settings.models_url and not settings.bucket_url:
            raise _setting_error("MODELS_URL", settings.models_url, error) from error
        raise _setting_error("STATE_DIR", settings.state_dir, error) from error


def open_database(settings: Settings, *, migrate: bool = False) -> Database:
    """Open the database. Raises StartupError, NotReady.

    Only a start of the service sets `migrate`: other commands may run next to an older service.
    """
    migrate = migrate and settings.database_migrate
    with _translate_database_errors(settings), ExitStack() as stack:
        make_folder(settings.state_dir, PRIVATE)  # corrections are personal data
        database = Database(settings.effective_database_url, migrate=migrate)
        stack.callback(database.close)
        database.repair()
        stack.pop_all()
        return database


def read_schema_status(settings: Settings) -> SchemaStatus:
    """Return the schema status of the database without changing it.

    Raises StartupError, NotReady.
    """
    with _translate_database_errors(settings):
        engine, file = open_engine(settings.effective_database_url)
        try:
            if file and not file.exists():
                raise StartupError(
                    f"The database {file} does not exist. Start the service to create it."
                )
            return status_of(engine)
        finally:
            engine.dispose()


@contextmanager
def _translate_database_errors(settings: Settings) -> Iterator[None]:
    """Raise a StartupError that names the setting if the database is unusable. Raises NotReady."""
    try:
        yield
    except SchemaMismatch as error:
        raise StartupError(str(error)) from error
    except OSError as error:
        raise _setting_error("STATE_DIR", settings.state_dir, error) from error
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise _database_error(error) from error
    except NotReady as error:
        if settings.database_url is None:
            raise
        raise _database_error(error) from error


def check_tracking() -> None:
    """Raise StartupError if trainings are logged to MLflow, but MLflow is not installed."""
    if is_torch_installed() and mlflow_process.is_enabled() and not mlflow_process.is_installed():
        raise StartupError(
            f"{mlflow_process.URI} is set, but MLflow is not installed. "
            "Run pip install '.[mlflow]', or unset the variable."
        )


def check_keys(settings: Settings, database: Database) -> None:
    """Raise StartupError if other machines could reach the service without any access setting."""
    has_admin_key = settings.admin_key is not None
    if settings.effective_auth == "none":
        if has_admin_key:
            log.warning("MYNET_ADMIN_KEY is ignored: MYNET_AUTH=none disables authentication")
        return
    if has_admin_key or KeyStore(database).valid():
        return
    if settings.auth is None:
        raise StartupError(
            f"MYNET_HOST={settings.host} is not a loopback address, so an API key is required, and "
            "none exists. Set MYNET_ADMIN_KEY, or create a key with `mynet keys create`, or set "
            "MYNET_AUTH=predict (predictions need no key), or MYNET_AUTH=none (nothing needs a "
            "key), or MYNET_HOST=127.0.0.1."
        )
    log.warning("no API key exists: set MYNET_ADMIN_KEY, or run `mynet keys create`")


def prepare_service(settings: Settings) -> None:
    """Prepare the state of a service before its worker processes start.

    Raises BadCheckpoint, StartupError.
    """
    check_tracking()
    with closing(open_database(settings, migrate=True)) as database:
        check_keys(settings, database)
        _warn_of_surroundings(settings)
        prepare_worker(settings, database)


def _warn_of_surroundings(settings: Settings) -> None:
    """Warn of variables that are no settings, and of a state folder that others can read."""
    if links := service_links(os.environ):
        log.warning(
            "Kubernetes service links passed over, they are no settings: %s. "
            "`enableServiceLinks: false` in the pod removes them.",
            ", ".join(link for link in links if link.startswith(PREFIX)),
        )
    if settings.state_dir.stat().st_mode & stat.S_IROTH:
        log.warning("other users can read %s: chmod 700 protects it", settings.state_dir)


def prepare_worker(settings: Settings, database: Database) -> Registry:
    """Open the versions for a service, and make a new `MYNET_CHECKPOINT` live if it is set.

    No event loop may be running in this thread. Raises BadCheckpoint, StartupError.
    """
    if multiprocessing.parent_process() is not None:
        return prepare_registry(settings)
    # Once per service, not once per worker: a restarted worker must not undo a promotion.
    new_checkpoint = _new_checkpoint(settings, settings.checkpoint) if settings.checkpoint else None
    registry = prepare_registry(settings)
    remove_temporary_uploads(settings.uploads_dir)
    FeedbackStore(settings.feedback_dir, settings.max_feedback).clean_up()
    catalogue.clean_up(settings, database)
    if new_checkpoint:
        _go_live(settings, new_checkpoint, registry)
    delete_old_versions(registry, SweepStore(database), settings.keep_versions)
    return registry


def _database_error(error: Exception) -> StartupError:
    message = f"MYNET_DATABASE_URL cannot be used: {error} {hint(error)}"
    return StartupError(message.rstrip())


def _setting_error(setting: str, value: object, problem: object) -> StartupError:
    return StartupError(f"MYNET_{setting}={value} cannot be used: {problem}")


def _first_loadable_version(registry: Registry) -> int | None:
    """Return the live version, a previous live version, or the most accurate one, or None.

    Versions that are damaged or cannot be fetched are skipped.
    """
    for version in chain(registry.history(), _versions_by_accuracy(registry)):
        try:
            registry.check(version)
            return version
        except (Conflict, BucketUnavailable) as error:
            log.error("version skipped at startup: version=%d error=%s", version, error)
    return None


def _versions_by_accuracy(registry: Registry) -> Iterator[int]:
    for card in sorted(registry.cards(), key=lambda card: -card.test_accuracy):
        yield card.version


class NewCheckpoint(NamedTuple):
    """A checkpoint that goes live, and the versions before the shipped ones were imported."""

    file: Path
    digest: str
    versions_before: list[int]


def _new_checkpoint(settings: Settings, file: Path) -> NewCheckpoint | None:
    """Return the checkpoint if it goes live, or None if it was a version before.

    Only a new one goes live. Otherwise each restart would take back a later promotion, for all
    services that share the versions. Call this before the shipped versions are imported: one of
    them may be the checkpoint of the first start.
    """
    try:
        # The import process reads a state dict: that needs PyTorch.
        weights = None if weights_file.is_state_dict(file) else checkpoint.read_weights(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except BadCheckpoint as error:
        raise StartupError(f"MYNET_CHECKPOINT: {error}") from error
    with _translate_registry_errors(settings):
        registry = open_registry(settings)
        registry.refresh()
        version = registry.recorded_checkpoint(digest)
        if version is None and weights is not None:
            version = version_with(registry, weights)
        if version is None:
            return NewCheckpoint(file, digest, registry.versions())
        _pass_over(file, digest, version, registry)
    return None


def _go_live(settings: Settings, new: NewCheckpoint, registry: Registry) -> None:
    """Import the checkpoint, if it is no version yet, and make it live."""
    version = _version_of(settings, new.file, registry)
    with _translate_registry_errors(settings):
        if version in new.versions_before:  # only the import could tell, for a state dict
            _pass_over(new.file, new.digest, version, registry)
            return
        registry.promote(version)
        registry.record_checkpoint(new.digest, version)
    log.info("checkpoint is live: file=%s version=%d", new.file, version)


def _pass_over(file: Path, digest: str, version: int, registry: Registry) -> None:
    """Record that the checkpoint was a version before, and warn if that version is not live."""
    registry.record_checkpoint(digest, version)
    live = registry.current()
    if version != live:
        state = "" if registry.exists(version) else " (deleted)"
        log.warning(
            "checkpoint passed over: file=%s version=%d%s live=%s: it was a version before. "
            "`mynet promote` or PUT /models/current makes a version live.",
            *(file, version, state, live),
        )


def _version_of(settings: Settings, file: Path, registry: Registry) -> int:
    """Return the version with the weights of this file, and import the file if there is none."""
    try:
        # The import process reads a state dict: that needs PyTorch.
        if not weights_file.is_state_dict(file):
            existing = version_with(registry, checkpoint.read_weights(file))
            if existing is not None:
                return existing
    except BadCheckpoint as error:
        raise StartupError(f"MYNET_CHECKPOINT: {error}") from error
    note = f"loaded from {file.name}"
    try:
        return asyncio.run(import_checkpoint(settings, registry, file, note))
    except ServiceError as refusal:
        raise StartupError(f"MYNET_CHECKPOINT={file} could not be imported: {refusal}") from refusal
