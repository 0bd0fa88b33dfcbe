"""Fast path of `POST /predict`, for small uploads without a query.

It answers a request whose body is complete, in one write. Any other request goes to the route
`/predict`, which gives the same answers and documents them.

The ordinary way through a route costs a task and two messages for each request, FastAPI's layers
and dependencies, a temporary file for the form, and a second check of the response. That takes
longer than all of MyNet's work on a small image. `bench/RESULTS.md` lists the time of each stage.
"""

import asyncio
from functools import partial
from typing import Final, NamedTuple

from app.api import problem_details
from app.api.access_log import HEADER, NO_FIELDS, AccessLog, request_id_from, sent_request_id
from app.api.content_encoding import HEADER as CONTENT_ENCODING
from app.api.dependencies import Services
from app.api.encoded_images import may_be_text
from app.api.multipart import parse_single_file
from app.api.routes.predict import prediction_json
from app.auth import csrf
from app.auth.access_control import FORWARDED, KEY_HEADERS
from app.auth.allowed_hosts import AllowedHosts
from app.auth.keys import Scope
from app.errors import MalformedRequest, QueueFull, ServiceError
from app.predict.batcher import PredictionOutcome, PredictionResult
from app.server.fast_path import FastCycle, FastHandler, Headers, KnownHeads
from app.telemetry import logs
from app.telemetry.metrics import Route

PATH: Final = "/predict"
TARGET: Final = PATH.encode()
MAX_FAST_BYTES: Final = 20 * 1024
MAX_LENGTH_DIGITS: Final = 10
ROUTE: Final = Route("POST", PATH)
ANSWER_HEAD: Final = (
    b"content-type: application/json\r\ncontent-length: %d\r\n" + HEADER + b": %b\r\n"
)


class UploadHead(NamedTuple):
    """What the headers of an upload say: its type, in full and in short, and its request id."""

    content_type: bytes
    kind: bytes
    request_id: bytes | None


class PredictFastPath:
    """Handles plain uploads that declare a small Content-Length."""

    def __init__(self, services: Services, access_log: AccessLog) -> None:
        self.predictor, self.access_log = services.predictor, access_log
        self.max_bytes = services.settings.max_body_bytes
        self.max_fast_bytes = min(self.max_bytes, MAX_FAST_BYTES)
        access_control = services.access_control
        is_public = access_control.predictions_are_public
        self.access_control = None if is_public else access_control
        self.heads = KnownHeads()
        # Heads that may hold a key are not kept in memory.
        self._may_be_constant = is_public
        self._is_allowed_host = AllowedHosts(services.settings).allows
        # The app decodes bodies. CORS needs response headers, the route checks that a request comes
        # from no other site and records the use of a key that predictions do not need, and uvicorn
        # must work out the address behind a proxy.
        self._special_headers = {
            CONTENT_ENCODING,
            *((b"origin",) if services.settings.origins else ()),
            *(csrf.BROWSER_HEADERS if access_control.auth == "none" else ()),
            *((FORWARDED,) if access_control.rate_limiter else ()),
            *(KEY_HEADERS if is_public else ()),
        }
        self._ignored_headers = KEY_HEADERS if access_control.auth == "none" else frozenset[bytes]()
        self._background_tasks: set[asyncio.Task[None]] = set()

    def match(self, method: bytes, target: bytes, headers: Headers) -> FastHandler | None:
        """Return a handler if this path can answer the request, or reject it before its body."""
        if method != b"POST" or not target.startswith(TARGET):
            return None
        content_types, length, may_be_constant = [], b"", self._may_be_constant
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name == b"content-type":
                content_types.append(value)
            elif name == b"host":
                if not self._is_allowed_host(value):
                    return None
            elif name in self._special_headers:
                if name not in self._ignored_headers:
                    return None
                may_be_constant = False
        if len(content_types) > 1 or not length.isdigit() or len(length) >= MAX_LENGTH_DIGITS:
            return None
        if target == TARGET and int(length) <= self.max_fast_bytes:
            return self._small_upload_handler(headers, may_be_constant, *content_types)
        return self._match_overload(target, int(length))

    def _small_upload_handler(
        self, headers: Headers, is_constant: bool, content_type: bytes = b""
    ) -> FastHandler:
        """Return the handler of small uploads with these headers, which are read only once."""
        kind = content_type.partition(b";")[0].strip().lower()
        begin = partial(self.begin, UploadHead(content_type, kind, sent_request_id(headers)))
        return FastHandler(begin, True, is_constant)

    def _match_overload(self, target: bytes, length: int) -> FastHandler | None:
        """Return a handler that rejects the request if the service is overloaded.

        Reading a photo that will be rejected, or hundreds a second, would slow down the requests
        that are answered.
        """
        has_query = target[len(TARGET) : len(TARGET) + 1] == b"?"
        if not (has_query or target == TARGET) or length > self.max_bytes:
            return None
        overload = self.predictor.check_overload(length, unbatched=has_query)
        return FastHandler(partial(self._reject, overload), False) if overload else None

    def _reject(self, overload: QueueFull, cycle: FastCycle) -> bool:
        try:
            self._authorize(cycle)
            outcome = self.predictor.count_rejection(overload)
        except ServiceError as unwelcome:
            outcome = unwelcome
        self._respond(cycle, request_id_from(cycle.headers), b"", outcome)
        return True

    def _authorize(self, cycle: FastCycle) -> None:
        """Authenticate and authorize. Raises Unauthenticated, Forbidden, RateLimited."""
        if self.access_control is not None:
            key = self.access_control.authenticate(cycle.headers)
            self.access_control.authorize(key, cycle.address, Scope.PREDICT)

    def begin(self, head: UploadHead, cycle: FastCycle) -> bool:
        """Start to answer the request; return False if the body is not a plain upload."""
        try:
            upload = _upload(head, cycle.body)
        except MalformedRequest:
            return False
        if upload is None:
            return False
        cycle.body = b""  # the connection would keep it in memory as long as it is open
        request_id = head.request_id or logs.new_request_id()
        respond = partial(self._respond, cycle, request_id, upload)
        try:
            self._authorize(cycle)
            self.predictor.predict_with_callback(upload, respond, cycle.is_cancelled)
        except ServiceError as refusal:
            respond(refusal)
        return True

    def _respond(
        self, cycle: FastCycle, request_id: bytes, upload: bytes, outcome: PredictionOutcome
    ) -> None:
        if outcome is None:
            task = asyncio.create_task(self._predict(cycle, request_id, upload))
            self._background_tasks.add(task)
            task.add_done_callback(self._background_tasks.discard)
            return
        logs.request_id.set(request_id_text := request_id.decode())
        fields = NO_FIELDS
        if isinstance(outcome, PredictionResult):
            status, fields = 200, {"version": outcome.version}
            content = prediction_json(outcome.batch, outcome.row)
            cycle.respond_ok(ANSWER_HEAD % (len(content), request_id), content)
        else:
            response = problem_details.response_for_exception("POST", PATH, outcome)
            status = response.status_code
            cycle.respond(status, response.raw_headers, bytes(response.body))
        self.access_log.add(request_id_text, ROUTE, *ROUTE, status, cycle.started, fields)

    async def _predict(self, cycle: FastCycle, request_id: bytes, upload: bytes) -> None:
        respond = partial(self._respond, cycle, request_id, upload)
        try:
            result = await self.predictor.predict(
                upload, needs_decoder=True, is_cancelled=cycle.is_cancelled
            )
        except Exception as error:  # not stored in a variable: its traceback holds this frame
            respond(error)
        else:
            respond(result)


def _upload(head: UploadHead, body: bytes) -> bytes | None:
    """Return the image: the only file of a form, or the whole body. None for any other body.

    JSON, and an image that is sent as text, are left to the route.
    """
    if head.kind == b"application/json":
        return None
    is_form = head.kind == b"multipart/form-data"
    upload = parse_single_file(body, head.content_type, "file") if is_form else body
    return None if upload is None or may_be_text(upload) else upload
