"""What a service stores, as operations that can be repeated: each with its old and new state."""

import tempfile
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from app.config.settings import Settings
from app.torch_net import MyNet, weights_of
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.versions import checkpoint
from app.versions.retention import apply_retention
from app.weights_import.parent import remove_temporary_uploads
from tests.conftest import png
from tests.rigs.io_errors import deliveries, migrations, trainings
from tests.rigs.io_errors.service import (
    Service,
    archive_of,
    drawn_digits,
    make_data,
    rig_settings,
    running,
)
from tests.rigs.io_errors.trial import Operation, temporary_files


def operations(folder: Path, stack: ExitStack) -> dict[str, Operation]:
    """Return the operations by name. `stack` ends what they need."""
    data = make_data(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    settings = rig_settings(folder / "service", data)
    service = stack.enter_context(running(settings))
    requests = {
        **_versions(service, settings),
        **_rows(service),
        "upload a data set": _dataset(service),
    }
    for operation in requests.values():
        operation.leftovers = partial(_leftovers, service)
    return {
        **requests,
        "run a job": trainings.operation(rig_settings(folder / "trainings", data), stack),
        "deliver a webhook": deliveries.operation(rig_settings(folder / "deliveries", data), stack),
        **migrations.operations(rig_settings(folder / "migrations", data)),
    }


def _leftovers(service: Service) -> list[str]:
    """Return the temporary files, and the files of data sets without a row; delete them."""
    settings, datasets = service.services.settings, service.services.datasets
    remove_temporary_uploads(settings.uploads_dir)  # as the next upload does: a deletion may fail
    paths = temporary_files(settings.state_dir)
    for dataset_id in {*datasets.files.ids()} ^ datasets.store.ids():
        paths.append(datasets.files.local_path(dataset_id))
    for path in paths:
        path.unlink(missing_ok=True)
    return [path.name for path in paths]


def _versions(service: Service, settings: Settings) -> dict[str, Operation]:
    services, epochs = service.services, count()
    registry = services.registry
    weights = weights_of(MyNet())
    card = registry.card(1).model_copy(update={"weights_digest": checkpoint.digest(weights)})
    first, second = registry.current(), registry.save(weights, card)
    for version in (second, first):  # what was live last is not deleted when others come
        registry.promote(version)
    content = checkpoint.to_bytes(settings.models_dir, weights, card)
    job = jobs.create(services.job_store, Hyperparameters(), max_queued=10**6, key=None)
    jobs.cancel(services.job_store, job.id)
    epoch = 0

    def delete_old() -> None:
        """Delete what a fault kept: else each try would have one more call than the last."""
        apply_retention(settings, registry)

    def keep_checkpoint() -> None:
        nonlocal epoch
        delete_old()
        epoch = next(epochs) % 1000
        services.checkpoints.write(
            job.id, epoch, weights, card.model_copy(update={"job": job.id, "checkpoint": epoch})
        )

    def newest() -> int:
        return registry.versions()[-1]

    return {
        "upload weights": Operation(
            lambda: service.send("POST", "/models", content=content), newest, delete_old
        ),
        "store a version": Operation(
            lambda: service.send("POST", f"/train/{job.id}/checkpoints/{epoch}"),
            newest,
            keep_checkpoint,
        ),
        **_changes_of_live_version(service, first, second),
    }


def _changes_of_live_version(service: Service, first: int, second: int) -> dict[str, Operation]:
    registry = service.services.registry

    def promote(version: int) -> Any:
        return service.send("PUT", "/models/current", json={"version": version})

    return {
        "promote": Operation(
            lambda: promote(second),
            registry.current,
            lambda: promote(first),
            change=second - first,
        ),
        "roll back": Operation(
            lambda: service.send("POST", "/models/rollback"),
            registry.current,
            lambda: (promote(first), promote(second)),
            change=first - second,
        ),
    }


def _rows(service: Service) -> dict[str, Operation]:
    services, numbers = service.services, count()
    feedback, backup = services.feedback, services.database.backup
    assert backup is not None, "the database is a file"
    idempotency_key, key, image = "", "", b""

    def next_key() -> None:
        nonlocal idempotency_key
        services.database.engine.dispose()  # the next request opens the database
        idempotency_key = f"job {next(numbers)}"

    def queue() -> Any:
        return service.send("POST", "/train", json={}, headers={"Idempotency-Key": idempotency_key})

    def next_image() -> None:
        nonlocal image
        pixels = drawn_digits(1)[0][0]
        pixels.view(np.uint32)[27, 0] = next(numbers)
        image = png(pixels)

    def correct() -> Any:
        return service.send("POST", "/feedback", files={"file": image}, data={"label": "7"})

    def make_key() -> Any:
        return service.send("POST", "/keys", json={"name": "a-key", "scopes": ["predict"]})

    def next_api_key() -> None:
        nonlocal key
        key = make_key()["id"]

    def keys(*, revoked: bool) -> int:
        listed = service.send("GET", "/keys")["data"]
        return sum(bool(entry["revoked_at"]) for entry in listed) if revoked else len(listed)

    return {
        "queue a job": Operation(
            queue, lambda: sum(services.job_store.count_jobs().values()), next_key
        ),
        "correct": Operation(correct, lambda: len(feedback.all()), next_image),
        "make a key": Operation(make_key, lambda: keys(revoked=False)),
        "revoke a key": Operation(
            lambda: service.send("DELETE", f"/keys/{key}"), lambda: keys(revoked=True), next_api_key
        ),
        "back up": Operation(
            backup.back_up,
            lambda: int(backup.copy.exists()),
            lambda: backup.copy.unlink(missing_ok=True),
        ),
    }


def _dataset(service: Service) -> Operation:
    numbers, content, name = count(), b"", ""

    def next_archive() -> None:
        nonlocal content, name
        number = next(numbers)
        content, name = archive_of(20, number), f"digits-{number}"

    def upload() -> Any:
        return service.send("POST", "/datasets", files={"file": content}, data={"name": name})

    return Operation(upload, lambda: len(service.services.datasets.store.all()), next_archive)
