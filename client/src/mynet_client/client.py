"""Synchronous client."""

import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, Self, TypeVar

import httpx2
from tenacity import Retrying

from mynet_client import calls, dataset_calls, sweep_calls
from mynet_client.answers import Card, Event, Job
from mynet_client.calls import Request
from mynet_client.connection import ADDRESS, ATTEMPTS, TIMEOUT, connection
from mynet_client.errors import readable, refusal, translate_errors
from mynet_client.following import EventSubscription
from mynet_client.methods import method
from mynet_client.retries import policy
from mynet_client.sweep_answers import Sweep

T = TypeVar("T")


class Client:
    """A client for the service at `url`; a context manager that several threads may share.

    Every method raises ApiError if the service rejects the request, ConnectionFailed if it does not
    answer. Temporary errors are retried, up to `attempts` in all; `timeout` is in seconds.
    """

    def __init__(
        self,
        url: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._http = httpx2.Client(**connection(url, api_key, timeout))
        self._attempts = attempts

    predict = method(calls.predict)
    predict_batch = method(calls.predict_batch)
    read = method(calls.read)
    train = method(calls.train)
    dry_run = method(calls.dry_run)
    job = method(calls.job)
    jobs = method(calls.jobs)
    cancel = method(calls.cancel)
    pause = method(calls.pause)
    resume = method(calls.resume)
    delete_job = method(calls.delete_job)
    checkpoints = method(calls.checkpoints)
    store_checkpoint = method(calls.store_checkpoint)
    log = method(calls.log)
    start_sweep = method(sweep_calls.start_sweep)
    sweep = method(sweep_calls.sweep)
    sweeps = method(sweep_calls.sweeps)
    cancel_sweep = method(sweep_calls.cancel_sweep)
    delete_sweep = method(sweep_calls.delete_sweep)
    feedback = method(calls.feedback)
    corrections = method(calls.corrections)
    corrected_image = method(calls.corrected_image)
    delete_correction = method(calls.delete_correction)
    upload_dataset = method(dataset_calls.upload_dataset)
    datasets = method(dataset_calls.datasets)
    dataset = method(dataset_calls.dataset)
    dataset_images = method(dataset_calls.dataset_images)
    delete_dataset = method(dataset_calls.delete_dataset)
    models = method(calls.models)
    cards = method(calls.cards)
    model = method(calls.model)
    promote = method(calls.promote)
    rollback = method(calls.rollback)
    delete = method(calls.delete)
    upload = method(calls.upload)
    weights = method(calls.weights)
    ready = method(calls.ready)

    def events(self, job: Job | str, after: int | None = None) -> Generator[Event, None, None]:
        """Yield the events of a job as they happen, until it is final.

        `after` is the id of the last event received. If the connection breaks, a new one resumes.
        """
        following = EventSubscription(job, after or 0, self._attempts)
        with translate_errors():
            while not following.is_over:
                response = self._answer(following.call, stream=True)
                with closing(response), following.connection(response) as source:
                    for sse in source:
                        if sse.data:
                            yield following.take(sse)
                time.sleep(following.pause)

    def promote_best(self, sweep: Sweep | str) -> Card:
        """Make the best version of a sweep the live one.

        Raises NoBestVersion if the sweep has not ended, or if none of its jobs stored a version.
        """
        return self.promote(sweep_calls.best_version(self.sweep(sweep)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Request[T]) -> T:
        with translate_errors():
            response = self._answer(call)
        with readable():
            return call.read(response)

    def _answer(self, call: Request[Any], *, stream: bool = False) -> httpx2.Response:
        return Retrying(**policy(call, self._attempts))(self._once, call, stream=stream)

    def _once(self, call: Request[Any], *, stream: bool) -> httpx2.Response:
        request = self._http.build_request(**call.request)
        response = self._http.send(request, stream=stream)
        if not response.is_success:
            response.read()
            raise refusal(response)
        return response
