"""The start of a service: open the registry, make a version live, open the database."""

import asyncio
import logging
import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.auth.keys import KeyStore
from app.config.settings import Settings
from app.database.database import Database
from app.database.engine import hint, open_engine
from app.database.schema import SchemaMismatch, SchemaStatus, status_of
from app.errors import Conflict, NotReady, ServiceError
from app.feedback import FeedbackStore
from app.net import DeviceUnavailable
from app.train.supervisor import mlflow_process
from app.versions import checkpoint
from app.versions.bucket.object_store import BucketUnavailable, InvalidBucket
from app.versions.checkpoint import BadCheckpoint
from app.versions.opening import open_registry
from app.versions.registry import Registry
from app.versions.retention import apply_retention
from app.weights_import.parent import ImportRequest, import_checkpoint, remove_temporary_uploads

log = logging.getLogger(__name__)


class StartupError(Exception):
    """The service has nothing that it could serve; the message says why."""


STARTUP_ERRORS: Final = (BadCheckpoint, DeviceUnavailable, StartupError, ServiceError, OSError)


def prepare_registry(settings: Settings) -> Registry:
    """Open the versions, with the shipped ones among them, and one of them live.

    Raises BadCheckpoint, StartupError.
    """
    try:
        registry = open_registry(settings)
        registry.check_writable()
        registry.import_bundled()
        registry.repair()
    except (InvalidBucket, BucketUnavailable) as error:
        problem = error.problem if isinstance(error, BucketUnavailable) else error
        raise _setting_error("MODELS_URL", settings.models_url, problem) from error
    except OSError as error:
        if settings.models_url and not settings.bucket_url:
            raise _setting_error("MODELS_URL", settings.models_url, error) from error
        raise _setting_error("STATE_DIR", settings.state_dir, error) from error
    while True:
        live = registry.current()
        version = _first_loadable_version(registry)
        if version is None:
            raise StartupError(f"There is no version in {registry.folder}, and none is shipped.")
        # Another process may promote meanwhile: what it made live is not taken back.
        if version == live or registry.promote(version, expected=live):
            return registry


def open_database(settings: Settings, *, migrate: bool = False) -> Database:
    """Open the database. Raises StartupError, NotReady.

    A start of the service says `migrate`; what else is run may be beside an older service.
    """
    migrate = migrate and settings.database_migrate
    with _translate_database_errors(settings), ExitStack() as stack:
        database = Database(settings.effective_database_url, migrate=migrate)
        stack.callback(database.close)
        database.repair()
        stack.pop_all()
        return database


def read_schema_status(settings: Settings) -> SchemaStatus:
    """Return which revision the database has, and leave its tables alone.

    Raises StartupError, NotReady.
    """
    with _translate_database_errors(settings):
        engine, file = open_engine(settings.effective_database_url)
        try:
            if file and not file.exists():
                raise StartupError(f"There is no database at {file}: the first start makes it")
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
    """Raises StartupError if jobs are to be logged to MLflow, and it is not installed."""
    if mlflow_process.is_enabled() and not mlflow_process.is_installed():
        raise StartupError(
            f"{mlflow_process.URI} is set, and MLflow is not installed: pip install '.[mlflow]', "
            "or leave the variable unset."
        )


def check_keys(settings: Settings, database: Database) -> None:
    """Raises StartupError if the service listens beyond this machine without an access setting."""
    has_admin_key = settings.admin_key is not None
    if settings.effective_auth == "none":
        if has_admin_key:
            log.warning("MYNET_ADMIN_KEY is of no use: all is open by MYNET_AUTH=none")
        return
    if has_admin_key or KeyStore(database).valid():
        return
    if settings.auth is None:
        raise StartupError(
            f"MYNET_HOST={settings.host} listens beyond this machine, where a key is needed, and "
            "there is none: set MYNET_ADMIN_KEY, or make one with `mynet keys create`; or say "
            "MYNET_AUTH=predict (predictions and health are open) or MYNET_AUTH=none (everything "
            "is); or set MYNET_HOST=127.0.0.1"
        )
    log.warning("there is no key yet: set MYNET_ADMIN_KEY, or make one with `mynet keys create`")


def prepare_service(settings: Settings) -> None:
    """Prepare for all processes of a service, before the first of them is there.

    Raises BadCheckpoint, StartupError.
    """
    check_tracking()
    with closing(open_database(settings, migrate=True)) as database:
        check_keys(settings, database)
    prepare_worker(settings)


def prepare_worker(settings: Settings) -> Registry:
    """Open the versions for a service: `MYNET_CHECKPOINT` goes live, where it is set.

    Call it where no event loop runs. Raises BadCheckpoint, StartupError.
    """
    registry = prepare_registry(settings)
    # Once a service, not once a worker: a worker that is started anew must not undo a promotion.
    if multiprocessing.parent_process() is None:
        remove_temporary_uploads(settings.uploads_dir)
        FeedbackStore(settings.feedback_dir, settings.max_feedback).clean_up()
        if settings.checkpoint:
            version = _version_of(settings, settings.checkpoint, registry)
            registry.promote(version)
            log.info("%s is version %d, and live", settings.checkpoint, version)
        apply_retention(settings, registry)
    return registry


def _database_error(error: Exception) -> StartupError:
    message = f"MYNET_DATABASE_URL cannot be used: {error} {hint(error)}"
    return StartupError(message.rstrip())


def _setting_error(setting: str, value: object, problem: object) -> StartupError:
    return StartupError(f"MYNET_{setting}={value} cannot be used: {problem}")


def _first_loadable_version(registry: Registry) -> int | None:
    """Return what is live, or was before; else the best there is. What is damaged, or cannot be
    fetched, is passed over.
    """
    for version in chain(registry.history(), _versions_by_accuracy(registry)):
        try:
            registry.check(version)
            return version
        except (Conflict, BucketUnavailable) as error:
            log.error("%s", error)
    return None


def _versions_by_accuracy(registry: Registry) -> Iterator[int]:
    for card in sorted(registry.cards(), key=lambda card: -card.test_accuracy):
        yield card.version


def _version_of(settings: Settings, file: Path, registry: Registry) -> int:
    """Return the version with the weights in this file, which becomes one where it is none yet."""
    try:
        digest = checkpoint.digest(checkpoint.read_weights(file))
    except BadCheckpoint as error:
        raise StartupError(f"MYNET_CHECKPOINT: {error}") from error
    existing = (card.version for card in registry.cards() if card.weights_digest == digest)
    note = f"loaded from {file.name}"
    request = ImportRequest(settings=settings, path=file, origin="checkpoint", note=note)
    try:
        return next(existing, None) or asyncio.run(import_checkpoint(request))
    except ServiceError as refusal:
        raise StartupError(f"MYNET_CHECKPOINT={file} is no version: {refusal}") from refusal
