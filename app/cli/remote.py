"""The verbs' operations over HTTP, by the client package."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from app.cli.backend import Fields, Format
from mynet_client import Client, MyNetError

ATTEMPTS: Final = 5  # some seconds, which a person at a terminal waits


class RemoteService:
    """A service at `url`."""

    errors = (MyNetError, OSError)

    def __init__(self, url: str, api_key: str | None) -> None:
        self._client = Client(url, api_key=api_key, attempts=ATTEMPTS)

    def close(self) -> None:
        self._client.close()

    def reader(self, version: int | None) -> Callable[[Path], Fields]:
        def read(file: Path) -> Fields:
            return self._client.predict(file, version=version).model_dump(exclude_unset=True)

        return read

    def lines_reader(self, version: int | None) -> Callable[[Path], Fields]:
        return lambda file: _fields(self._client.read(file, version=version))

    def train(self, hyperparameters: Fields) -> Fields:
        return _fields(self._client.train(**hyperparameters))

    def dry_run(self, hyperparameters: Fields) -> Fields:
        return _fields(self._client.dry_run(**hyperparameters))

    def supervision(self) -> AbstractContextManager[object]:
        return nullcontext()

    def is_supervised(self) -> bool:
        return True

    def jobs(self, status: str | None, after: str | None, limit: int) -> Fields:
        return _fields(self._client.jobs(status=status, after=after, limit=limit))

    def job(self, job_id: str) -> Fields:
        return _fields(self._client.job(job_id))

    def pause(self, job_id: str) -> Fields:
        return _fields(self._client.pause(job_id))

    def resume(self, job_id: str) -> Fields:
        return _fields(self._client.resume(job_id))

    def cancel(self, job_id: str) -> Fields:
        return _fields(self._client.cancel(job_id))

    def delete_job(self, job_id: str) -> None:
        self._client.delete_job(job_id)

    def checkpoints(self, job_id: str) -> Fields:
        return _fields(self._client.checkpoints(job_id))

    def store_checkpoint(self, job_id: str, epoch: int) -> Fields:
        return _fields(self._client.store_checkpoint(job_id, epoch))

    def log(self, job_id: str) -> list[str]:
        return self._client.log(job_id)

    def events(self, job_id: str) -> Iterator[tuple[str, Fields]]:
        for event in self._client.events(job_id):
            yield event.event, event.data

    def start_sweep(self, grid: Fields) -> Fields:
        return _fields(self._client.start_sweep(grid))

    def sweeps(self, after: str | None, limit: int) -> Fields:
        return _fields(self._client.sweeps(after=after, limit=limit))

    def sweep(self, sweep_id: str) -> Fields:
        return _fields(self._client.sweep(sweep_id))

    def cancel_sweep(self, sweep_id: str) -> Fields:
        return _fields(self._client.cancel_sweep(sweep_id))

    def delete_sweep(self, sweep_id: str) -> None:
        self._client.delete_sweep(sweep_id)

    def models(self) -> Fields:
        return _fields(self._client.models())

    def model(self, version: int) -> Fields:
        return _fields(self._client.model(version))

    def promote(self, version: int) -> Fields:
        return _fields(self._client.promote(version))

    def promote_best(self, sweep_id: str) -> Fields:
        return _fields(self._client.promote_best(sweep_id))

    def rollback(self) -> Fields:
        return _fields(self._client.rollback())

    def upload(self, file: Path, note: str | None) -> Fields:
        return _fields(self._client.upload(file, note=note))

    def weights(self, version: int, form: Format) -> bytes:
        return self._client.weights(version, format=form)

    def delete(self, version: int) -> None:
        self._client.delete(version)

    def corrections(self, after: str | None, limit: int) -> Fields:
        return _fields(self._client.corrections(after=after, limit=limit))

    def correct(
        self, file: Path, label: int | None, prediction_id: str | None, *, replace: bool
    ) -> Fields:
        return _fields(
            self._client.feedback(file, label, prediction_id=prediction_id, replace=replace)
        )

    def corrected_image(self, correction_id: str) -> bytes:
        return self._client.corrected_image(correction_id)

    def delete_correction(self, correction_id: str) -> None:
        self._client.delete_correction(correction_id)

    def datasets(self, after: str | None, limit: int) -> Fields:
        return _fields(self._client.datasets(after=after, limit=limit))

    def dataset(self, reference: str) -> Fields:
        return _fields(self._client.dataset(reference))

    def dataset_images(
        self, reference: str, label: int | None, after: str | None, limit: int
    ) -> Fields:
        page = self._client.dataset_images(reference, label=label, after=after, limit=limit)
        return _fields(page)

    def upload_dataset(self, path: Path, name: str, *, transposed: bool) -> Fields:
        return _fields(self._client.upload_dataset(path, name, transposed=transposed))

    def delete_dataset(self, reference: str) -> None:
        self._client.delete_dataset(reference)


def _fields(answer: BaseModel) -> Fields:
    return answer.model_dump(mode="json")
