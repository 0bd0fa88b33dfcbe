"""The verbs' operations on the state folder, with or without a service that uses it.

A running service notices a change within seconds: it follows the live version and the jobs in the
same folder and database.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from app.api.routes import models as model_routes
from app.api.routes import sweeps as sweep_routes
from app.api.routes import train as train_routes
from app.api.routes.checkpoints import to_checkpoints
from app.api.routes.predict import prediction_fields
from app.api.routes.read import reading_fields
from app.api.schemas import training
from app.api.schemas.feedback import Correction
from app.cli.backend import Fields, Format
from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.leases import LeaseStore
from app.database.sweeps import SweepStore
from app.database.tables import Job
from app.dataset_import.local import import_sync
from app.datasets.catalogue import Datasets, open_datasets
from app.datasets.records import DatasetSummary
from app.devices import is_torch_installed, pick_device
from app.errors import Conflict
from app.feedback import FeedbackStore
from app.image.decode import open_image, to_grey
from app.image.normalise import normalise
from app.predict.live_model import LiveModel
from app.predict.local import predict_sync
from app.read.local import read_sync
from app.startup import STARTUP_ERRORS, check_tracking, open_database, prepare_registry
from app.telemetry import logs
from app.train.jobs import deletion, events, sweep
from app.train.jobs import job as jobs
from app.train.jobs.availability import check_training
from app.train.jobs.checkpoints import Checkpoints, store_as_version
from app.train.jobs.hyperparameters import Init, TrainRequest
from app.train.jobs.job import Status
from app.train.jobs.named_datasets import with_ids
from app.train.jobs.sweep_grid import Grid
from app.train.plan import initial_weights
from app.train.plan.dry_run import dry_run
from app.train.supervisor.supervisor import Supervisor
from app.versions import export
from app.versions.registry import Registry
from app.versions.retention import delete_old_versions
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.subscriptions import subscriptions
from app.weights_import.parent import import_upload

POLL: Final = 0.2  # seconds between two reads of a job's events


class StateFolder:
    """The versions, the database and the corrections of the settings; each opens when needed."""

    errors = STARTUP_ERRORS

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        logs.configure("warning", settings.log_format)

    def close(self) -> None:
        if "_database" in self.__dict__:
            self._database.close()

    def reader(self, version: int | None) -> Callable[[Path], Fields]:
        self._live.refresh()
        model, max_pixels = self._live.get(version), self._settings.max_pixels

        def read(file: Path) -> Fields:
            return prediction_fields(predict_sync(file.read_bytes(), model, max_pixels).answer)

        return read

    def lines_reader(self, version: int | None) -> Callable[[Path], Fields]:
        self._live.refresh()
        model, max_pixels = self._live.get(version), self._settings.max_pixels

        def read(file: Path) -> Fields:
            return reading_fields(read_sync(file.read_bytes(), model, max_pixels))

        return read

    def train(self, hyperparameters: Fields) -> Fields:
        check_training(self._database)
        prepare_registry(self._settings)  # a new version needs one that it can be compared with
        request = TrainRequest(**hyperparameters)
        job = jobs.create(
            self._jobs,
            with_ids(request.hyperparameters, self._datasets),
            max_queued=self._settings.train_queue,
            key=None,
            read_init=self._read_init,
            webhooks=subscriptions(self._settings, request.webhook),
        )
        return self._job_fields(job)[0]

    def dry_run(self, hyperparameters: Fields) -> Fields:
        check_training(self._database)
        request = TrainRequest(**hyperparameters)
        subscriptions(self._settings, request.webhook)
        wanted_job = with_ids(request.hyperparameters, self._datasets)
        if wanted_job.init:
            self._read_init(wanted_job.init)
        plan = dry_run(self._jobs, self._datasets, self._settings, wanted_job)
        return _fields(training.DryRun.model_validate(plan))

    def supervision(self) -> AbstractContextManager[object]:
        if not is_torch_installed():
            check_training(self._database)
            return nullcontext()  # another service trains
        check_tracking()
        return self._supervised()

    @contextmanager
    def _supervised(self) -> Iterator[None]:
        """Run queued jobs. At the end, send their webhooks once; a service tries again."""
        quiet = self._settings.model_copy(update={"log_level": "error", "retrain_after": None})
        # The supervisor does nothing while a service holds the lease. Its end requeues the job.
        with Supervisor(quiet, self._database):
            yield
        if self._settings.webhook_secret:
            asyncio.run(Dispatcher(self._settings, self._database).deliver_due())

    def is_supervised(self) -> bool:
        return LeaseStore(self._database).holder() is not None

    def jobs(self, status: str | None, after: str | None, limit: int) -> Fields:
        cursor = jobs.get(self._jobs, after).number if after else None
        rows = self._jobs.jobs(status, cursor, limit + 1)
        return {"data": self._job_fields(*rows[:limit]), "has_more": len(rows) > limit}

    def job(self, job_id: str) -> Fields:
        return self._job_fields(jobs.get(self._jobs, job_id))[0]

    def pause(self, job_id: str) -> Fields:
        return self._job_fields(jobs.pause(self._jobs, job_id))[0]

    def resume(self, job_id: str) -> Fields:
        return self._job_fields(jobs.resume(self._jobs, job_id))[0]

    def cancel(self, job_id: str) -> Fields:
        return self._job_fields(jobs.cancel(self._jobs, job_id))[0]

    def delete_job(self, job_id: str) -> None:
        deletion.delete_job(self._sweeps, self._checkpoints, job_id)

    def log(self, job_id: str) -> list[str]:
        jobs.get(self._jobs, job_id)
        return [line.rstrip("\n") for line in events.read_log(self._jobs, job_id)]

    def events(self, job_id: str) -> Iterator[tuple[str, Fields]]:
        last = 0
        while True:
            job = jobs.get(self._jobs, job_id)
            for event in self._jobs.events(job_id, last):
                last = event.number
                yield event.kind, event.data
            if Status(job.status).is_final:
                return
            time.sleep(POLL)

    def checkpoints(self, job_id: str) -> Fields:
        job = jobs.get(self._jobs, job_id)
        return _fields(to_checkpoints(job, self._checkpoints))

    def store_checkpoint(self, job_id: str, epoch: int) -> Fields:
        jobs.get(self._jobs, job_id)
        card, _ = store_as_version(self._registry, self._checkpoints, job_id, epoch)
        delete_old_versions(self._registry, self._sweeps, self._settings.keep_versions)
        return _fields(card)

    def start_sweep(self, grid: Fields) -> Fields:
        check_training(self._database)
        prepare_registry(self._settings)
        max_queued = self._settings.train_queue
        row = sweep.create(
            self._sweeps,
            with_ids(Grid(**grid), self._datasets),
            max_queued=max_queued,
            key=None,
            webhooks=subscriptions(self._settings),
        )
        return self.sweep(row.id)

    def sweeps(self, after: str | None, limit: int) -> Fields:
        cursor = sweep.get(self._sweeps, after).number if after else None
        rows = self._sweeps.sweeps(cursor, limit + 1)
        data = sweep_routes.to_sweeps(self._sweeps, rows[:limit])
        return {"data": [_fields(entry) for entry in data], "has_more": len(rows) > limit}

    def sweep(self, sweep_id: str) -> Fields:
        row = sweep.get(self._sweeps, sweep_id)
        return _fields(sweep_routes.to_sweeps(self._sweeps, [row])[0])

    def cancel_sweep(self, sweep_id: str) -> Fields:
        sweep.cancel(self._sweeps, sweep_id)
        return self.sweep(sweep_id)

    def delete_sweep(self, sweep_id: str) -> None:
        deletion.delete_sweep(self._sweeps, sweep_id)

    def models(self) -> Fields:
        return _fields(model_routes.to_versions(*self._registry.cards_and_history()))

    def model(self, version: int) -> Fields:
        return _fields(self._registry.card(version))

    def promote(self, version: int) -> Fields:
        return _fields(self._live.promote(version))

    def promote_best(self, sweep_id: str) -> Fields:
        fields = self.sweep(sweep_id)
        status, best = fields["status"], fields["best"]
        if fields["finished_at"] is None:
            raise Conflict(f"Sweep {sweep_id} is {status}. Promote its best when it ends.")
        if best is None:
            raise Conflict(f"Sweep {sweep_id} {status} without a version to promote.")
        return self.promote(best["version"])

    def rollback(self) -> Fields:
        return _fields(self._live.rollback())

    def upload(self, file: Path, note: str | None) -> Fields:
        registry = prepare_registry(self._settings)
        content = file.read_bytes()
        return _fields(asyncio.run(import_upload(self._settings, registry, content, note)))

    def weights(self, version: int, form: Format) -> bytes:
        return export.export(self._registry, version, form)

    def delete(self, version: int) -> None:
        self._registry.delete(version)

    def corrections(self, after: str | None, limit: int) -> Fields:
        page, has_more = self._feedback.page(after, limit)
        data = [_fields(Correction.model_validate(correction)) for correction in page]
        return {"data": data, "has_more": has_more}

    def correct(
        self, file: Path, label: int | None, prediction_id: str | None, *, replace: bool
    ) -> Fields:
        pixels = to_grey(open_image(file.read_bytes(), self._settings.max_pixels)).pixels
        normalise(pixels)  # raises BlankImage if there is no ink
        correction, _ = self._feedback.add(pixels, label, prediction_id, replace=replace)
        return _fields(Correction.model_validate(correction))

    def corrected_image(self, correction_id: str) -> bytes:
        return self._feedback.content(correction_id)[1]

    def delete_correction(self, correction_id: str) -> None:
        self._feedback.delete(correction_id)

    def datasets(self, after: str | None, limit: int) -> Fields:
        page, has_more = self._datasets.page(after, limit)
        data = [_fields(DatasetSummary.model_validate(dataset.model_dump())) for dataset in page]
        return {"data": data, "has_more": has_more}

    def dataset(self, reference: str) -> Fields:
        return _fields(self._datasets.get(reference))

    def dataset_images(
        self, reference: str, label: int | None, after: str | None, limit: int
    ) -> Fields:
        found = self._datasets.get(reference)
        page, has_more = self._datasets.image_page(found, label, after, limit)
        return {"data": [_fields(image) for image in page], "has_more": has_more}

    def upload_dataset(self, path: Path, name: str, *, transposed: bool) -> Fields:
        from mynet_client.dataset_calls import archive_of  # no other verb needs the client here

        self._live.refresh()
        return _fields(
            import_sync(
                self._settings,
                self._datasets,
                self._live.model,
                archive_of(path),
                name,
                transposed=transposed,
            )
        )

    def delete_dataset(self, reference: str) -> None:
        self._datasets.delete(reference)

    @cached_property
    def _database(self) -> Database:
        return open_database(self._settings)

    @cached_property
    def _jobs(self) -> JobStore:
        return JobStore(self._database)

    @cached_property
    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self._settings.checkpoints_dir, self._settings.keep_checkpoints)

    def _read_init(self, init: Init) -> bytes:
        return initial_weights.read(init, self._registry, self._checkpoints)

    @cached_property
    def _sweeps(self) -> SweepStore:
        return SweepStore(self._database)

    @cached_property
    def _registry(self) -> Registry:
        return prepare_registry(self._settings)

    @cached_property
    def _live(self) -> LiveModel:
        return LiveModel(self._registry, pick_device(self._settings.device))

    @cached_property
    def _datasets(self) -> Datasets:
        return open_datasets(self._settings, self._database)

    @cached_property
    def _feedback(self) -> FeedbackStore:
        return FeedbackStore(self._settings.feedback_dir, self._settings.max_feedback)

    def _job_fields(self, *rows: Job) -> list[Fields]:
        return [_fields(job) for job in train_routes.to_jobs(self._database, *rows)]


def _fields(answer: BaseModel) -> Fields:
    return answer.model_dump(mode="json")
