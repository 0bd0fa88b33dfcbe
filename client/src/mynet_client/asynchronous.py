"""Asynchronous client, for programs that use asyncio."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Self, TypeVar

import httpx2
from tenacity import AsyncRetrying

from mynet_client import calls, dataset_calls, sweep_calls
from mynet_client.answers import Card, Event, Job
from mynet_client.calls import Request
from mynet_client.connection import ADDRESS, ATTEMPTS, TIMEOUT, connection
from mynet_client.errors import readable, refusal, translate_errors
from mynet_client.following import EventSubscription
from mynet_client.methods import async_method
from mynet_client.retries import policy
from mynet_client.sweep_answers import Sweep

T = TypeVar("T")


class AsyncClient:
    """A client for the service at `url`; a context manager that several tasks may share.

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
        self._http = httpx2.AsyncClient(**connection(url, api_key, timeout))
        self._attempts = attempts

    predict = async_method(calls.predict)
    predict_batch = async_method(calls.predict_batch)
    read = async_method(calls.read)
    train = async_method(calls.train)
    dry_run = async_method(calls.dry_run)
    job = async_method(calls.job)
    jobs = async_method(calls.jobs)
    cancel = async_method(calls.cancel)
    pause = async_method(calls.pause)
    resume = async_method(calls.resume)
    delete_job = async_method(calls.delete_job)
    checkpoints = async_method(calls.checkpoints)
    store_checkpoint = async_method(calls.store_checkpoint)
    log = async_method(calls.log)
    start_sweep = async_method(sweep_calls.start_sweep)
    sweep = async_method(sweep_calls.sweep)
    sweeps = async_method(sweep_calls.sweeps)
    cancel_sweep = async_method(sweep_calls.cancel_sweep)
    delete_sweep = async_method(sweep_calls.delete_sweep)
    feedback = async_method(calls.feedback)
    corrections = async_method(calls.corrections)
    corrected_image = async_method(calls.corrected_image)
    delete_correction = async_method(calls.delete_correction)
    upload_dataset = async_method(dataset_calls.upload_dataset)
    datasets = async_method(dataset_calls.datasets)
    dataset = async_method(dataset_calls.dataset)
    dataset_images = async_method(dataset_calls.dataset_images)
    delete_dataset = async_method(dataset_calls.delete_dataset)
    models = async_method(calls.models)
    cards = async_method(calls.cards)
    model = async_method(calls.model)
    promote = async_method(calls.promote)
    rollback = async_method(calls.rollback)
    delete = async_method(calls.delete)
    upload = async_method(calls.upload)
    weights = async_method(calls.weights)
    ready = async_method(calls.ready)

    async def events(self, job: Job | str, after: int | None = None) -> AsyncGenerator[Event, None]:
        """Yield the events of a job as they happen, until it is final.

        `after` is the id of the last event received. If the connection breaks, a new one resumes.
        To stop earlier, close the generator (`contextlib.aclosing`).
        """
        following = EventSubscription(job, after or 0, self._attempts)
        with translate_errors():
            while not following.is_over:
                response = await self._answer(following.call, stream=True)
                async with aclosing(response):
                    with following.connection(response) as source:
                        async for sse in source:
                            if sse.data:
                                yield following.take(sse)
                await asyncio.sleep(following.pause)

    async def promote_best(self, sweep: Sweep | str) -> Card:
        """Make the best version of a sweep the live one.

        Raises NoBestVersion if the sweep has not ended, or if none of its jobs stored a version.
        """
        return await self.promote(sweep_calls.best_version(await self.sweep(sweep)))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, call: Request[T]) -> T:
        with translate_errors():
            response = await self._answer(call)
        with readable():
            return call.read(response)

    async def _answer(self, call: Request[Any], *, stream: bool = False) -> httpx2.Response:
        return await AsyncRetrying(**policy(call, self._attempts))(self._once, call, stream=stream)

    async def _once(self, call: Request[Any], *, stream: bool) -> httpx2.Response:
        request = self._http.build_request(**call.request)
        response = await self._http.send(request, stream=stream)
        if not response.is_success:
            await response.aread()
            raise refusal(response)
        return response
