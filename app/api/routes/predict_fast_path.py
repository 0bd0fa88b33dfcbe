"""`POST /predict` the short way: small uploads, with nothing asked beside them.

What enters: a request that is here whole. What leaves: its answer, in one write. Whatever is not of
the plain kind goes to the route of that name, which answers alike and says so in the documentation.
This module does not know how an image is read.

The usual way to a route and back (a task and two messages a request, FastAPI's layers, dependencies
and a form in a temporary file, the answer checked once more) takes longer than all of MyNet's work
on a small image. `bench/RESULTS.md` has what the stages take.
"""

import asyncio
from functools import partial
from typing import Final

from pydantic_core import to_json

from app.api import problem_details
from app.api.access_log import HEADER, NOTHING, AccessLog, request_id_from
from app.api.dependencies import Services
from app.api.multipart import parse_single_file
from app.api.routes.predict import fields
from app.auth.access_control import FORWARDED
from app.auth.keys import Scope
from app.errors import QueueFull, MalformedRequest, ServiceError
from app.predict.batcher import PredictionOutcome, PredictionResult
from app.server.protocol import FastCycle, Headers, FastHandler
from app.telemetry import logs
from app.telemetry.metrics import Route

PATH: Final = "/predict"
TARGET: Final = PATH.encode()
LARGEST: Final = 20 * 1024
DIGITS: Final = 10
ROUTE: Final = Route("POST", PATH)
JSON: Final = (b"content-type", b"application/json")


class PredictFastPath:
    """Takes plain uploads that say that they are small."""

    def __init__(self, services: Services, access_log: AccessLog) -> None:
        self.predictor, self.access_log = services.predictor, access_log
        self.most = services.settings.max_body_bytes
        self.largest = min(self.most, LARGEST)
        self._small_upload_handler = FastHandler(self.begin, True)
        guard = services.guard
        self.guard = None if guard.predictions_are_public else guard
        # Answers to a page elsewhere want headers, and who is behind a proxy is for uvicorn to say.
        self._headers_that_need_the_app = {
            *((b"origin",) if services.settings.origins else ()),
            *((FORWARDED,) if guard.rates else ()),
        }
        self._background_tasks: set[asyncio.Task[None]] = set()

    def match(self, method: bytes, target: bytes, headers: Headers) -> FastHandler | None:
        """Say whether it can be answered here once its body has come, or refused whatever
        its body is.
        """
        if method != b"POST" or not target.startswith(TARGET):
            return None
        kinds, length = 0, b""
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name == b"content-type":
                kinds += 1
        if (
            kinds > 1
            or not length.isdigit()
            or len(length) >= DIGITS
            or (self._headers_that_need_the_app and any(name in self._headers_that_need_the_app for name, _ in headers))
        ):
            return None
        if target == TARGET and int(length) <= self.largest:
            return self._small_upload_handler
        return self._refused(target, int(length))

    def _refused(self, target: bytes, length: int) -> FastHandler | None:
        """To read a photo, let alone hundreds a second, for nobody would take time from those that
        are answered.
        """
        alone = target[len(TARGET) : len(TARGET) + 1] == b"?"
        if not (alone or target == TARGET) or length > self.most:
            return None
        busy = self.predictor.check_overload(length, alone=alone)
        return FastHandler(partial(self._refuse, busy), False) if busy else None

    def _refuse(self, busy: QueueFull, exchange: FastCycle) -> bool:
        try:
            self._authorize(exchange)
            refusal = self.predictor.count_rejection(busy)
        except ServiceError as unwelcome:
            refusal = unwelcome
        self._respond(exchange, request_id_from(exchange.headers), b"", refusal)
        return True

    def _authorize(self, exchange: FastCycle) -> None:
        """Look at who asks. Raises Unauthenticated, Forbidden, RateLimited."""
        if self.guard is not None:
            key = self.guard.authenticate(exchange.headers)
            self.guard.authorize(key, exchange.address, Scope.PREDICT)

    def begin(self, exchange: FastCycle) -> bool:
        """Begin to answer; False where the body is not plain."""
        try:
            upload = _upload(exchange)
        except MalformedRequest:
            return False
        if upload is None:
            return False
        exchange.body = b""  # it would stay for as long as the connection does
        request_id = request_id_from(exchange.headers)
        tell = partial(self._respond, exchange, request_id, upload)
        try:
            self._authorize(exchange)
            self.predictor.predict_with_callback(upload, tell, exchange.is_gone)
        except ServiceError as refusal:
            tell(refusal)
        return True

    def _respond(self, exchange: FastCycle, request_id: bytes, upload: bytes, outcome: PredictionOutcome) -> None:
        if outcome is None:
            task = asyncio.create_task(self._predict(exchange, request_id, upload))
            self._background_tasks.add(task)
            task.add_done_callback(self._background_tasks.discard)
            return
        logs.request_id.set(shown_id := request_id.decode())
        if isinstance(outcome, PredictionResult):
            content = to_json(fields(outcome.answer))
            length = b"content-length", b"%d" % len(content)
            status, headers = 200, [JSON, length, (HEADER, request_id)]
            known: logs.LogFields = {"version": outcome.answer.version}
        else:
            problem = problem_details.response_for_exception("POST", PATH, outcome)
            status, headers, content = problem.status_code, problem.raw_headers, bytes(problem.body)
            known = NOTHING
        exchange.respond(status, headers, content)
        self.access_log.add(shown_id, ROUTE, *ROUTE, status, exchange.started, known)

    async def _predict(self, exchange: FastCycle, request_id: bytes, upload: bytes) -> None:
        tell = partial(self._respond, exchange, request_id, upload)
        try:
            predicted = await self.predictor.predict(upload, is_gone=exchange.is_gone)
        except Exception as error:  # no variable keeps it: its traceback holds this frame
            tell(error)
        else:
            tell(predicted)


def _upload(exchange: FastCycle) -> bytes | None:
    """Give the image of a form that is one file, or of a body that is the image."""
    content_type = next((value for name, value in exchange.headers if name == b"content-type"), b"")
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"multipart/form-data":
        return parse_single_file(exchange.body, content_type, "file")
    return None if kind == b"application/json" else exchange.body
