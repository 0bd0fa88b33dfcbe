"""`POST /predict` the short way: small uploads, with nothing asked beside them.

What enters: ASGI. What leaves: the answer, or, where a request is not of the plain kind, the same
ASGI for the route of that name, which answers alike and says so in the documentation. This module
does not know how an image is read.

FastAPI's own way to a route and back (its stack, dependencies, a form in a temporary file, the
answer checked once more) takes longer than all of MyNet's work on a small image. It is spared here
by reading the body where it arrives and answering with ready bytes; `bench/RESULTS.md` has what the
stages take.
"""

from typing import Final

from pydantic_core import to_json
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.form import only_file
from app.api.predict import fields
from app.api.services import Services, is_gone

LARGEST: Final = 20 * 1024
DIGITS: Final = 10


class Express:
    """Answers for plain uploads that say that they are small; the rest goes on to `app`."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.largest = app, min(most, LARGEST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content_type = self._taken(scope)
        if content_type is None:
            await self.app(scope, receive, send)
            return
        messages = await _all_of(receive)
        try:
            upload = _upload(content_type, messages)
            answer: ASGIApp | None = None if upload is None else await _answer(scope, upload)
        except Exception as error:
            answer = await problems.answer(Request(scope), error)
        if answer is None:
            await self.app(scope, _again(messages, receive), send)
        else:
            await answer(scope, receive, send)

    def _taken(self, scope: Scope) -> bytes | None:
        """Give the Content-Type of what may be plain and is small, None of all else."""
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["query_string"]:
            return None
        kinds, length = [], b""
        for name, value in scope["headers"]:
            if name == b"content-type":
                kinds.append(value)
            elif name == b"content-length":
                length = value
        is_small = length.isdigit() and len(length) < DIGITS and int(length) <= self.largest
        is_plain = scope["method"] == "POST" and len(kinds) < 2
        return (kinds or [b""])[0] if is_small and is_plain else None


async def _all_of(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Receive what was received already, then what comes."""
    first = iter(messages)

    async def receive_again() -> Message:
        return next(first, None) or await receive()

    return receive_again


def _upload(content_type: bytes, messages: list[Message]) -> bytes | None:
    """Give the image of a form that is one file, or of a body that is the image."""
    if messages[-1]["type"] != "http.request":
        return None
    body = b"".join(message["body"] for message in messages)
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"multipart/form-data":
        return only_file(body, content_type, "file")
    return None if kind == b"application/json" else body


class Ready:
    """An answer as two messages and no more."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        length = b"%d" % len(self.content)
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.content})


async def _answer(scope: Scope, upload: bytes) -> Ready:
    services: Services = scope["state"]["services"]
    predicted = await services.predictor.predict(upload, is_gone=is_gone(scope))
    return Ready(to_json(fields(predicted.answer)))
