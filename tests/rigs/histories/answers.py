"""What the answers to requests say about the registry."""

import json
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from tests.rigs.histories.model import Kind, Operation, Outcome
from tests.rigs.histories.requests import Request
from tests.rigs.load.http_load import Reply

CHANGES: Final = {
    "promote": Kind.PROMOTE,
    "roll back": Kind.ROLL_BACK,
    "delete": Kind.DELETE,
    "upload": Kind.UPLOAD,
}
NAMED: Final = ("promote", "get version", "predict with version")  # the answer is of that version


class UnexpectedAnswer(Exception):
    """An answer that the contract does not have, such as a 500."""


class Exchange(NamedTuple):
    """A request with its answer; who sent it, over which connection; the times, in seconds."""

    request: Request
    reply: Reply
    call: float
    end: float
    client: int
    connection: int


def read_exchange(exchange: Exchange, candidates: Collection[int]) -> list[Operation]:
    """Return the operations of an exchange. A listing is several: each version is read by itself.

    `candidates` are the versions that a listing could have. Raises UnexpectedAnswer.
    """
    request, reply = exchange.request, exchange.reply
    common: dict[str, Any] = {
        "call": exchange.call,
        "end": exchange.end,
        "client": exchange.client,
        "connection": exchange.connection,
        "service": request.service,
    }
    try:
        body = json.loads(reply.body) if reply.status and reply.body else {}
        if request.name in NAMED and reply.status == 200 and body["version"] != request.version:
            raise ValueError(f"version {body['version']} instead of {request.version}")
        return [Operation(**common, **fields) for fields in _read(request, reply, body, candidates)]
    except (KeyError, ValueError) as error:
        raise UnexpectedAnswer(f"{error!r}: {exchange}") from error


def _read(
    request: Request, reply: Reply, body: dict[str, Any], candidates: Collection[int]
) -> list[dict[str, Any]]:
    version = request.version
    match request.name, reply.status:
        case _, 429:  # too many requests: it was not carried out
            return []
        case name, 0 | 503 | 504:  # it may have been carried out, or not
            unknown = {"outcome": Outcome.UNKNOWN, "argument": version}
            return [{"kind": CHANGES[name], **unknown}] if name in CHANGES else []
        case "predict", 200:
            return [{"kind": Kind.PREDICT, "answer": body["version"]}]
        case "list", 200:
            return _read_list(body, candidates)
        case "predict with version" | "get version", (200 | 404) as status:
            return [_read_version(version, status == 200)]
        case "promote" | "delete" as name, (200 | 204 | 404) as status:
            outcome = Outcome.NOT_FOUND if status == 404 else Outcome.DONE
            return [{"kind": CHANGES[name], "argument": version, "outcome": outcome}]
        case "delete", 409:
            return [{"kind": Kind.DELETE, "argument": version, "outcome": Outcome.CONFLICT}]
        case "roll back", 200:
            return [{"kind": Kind.ROLL_BACK, "answer": body["version"]}]
        case "roll back", (404 | 409):
            is_first = body["detail"].startswith("There is no previous live version")
            outcome = Outcome.CONFLICT if is_first else Outcome.LOST_RACE
            return [{"kind": Kind.ROLL_BACK, "outcome": outcome}]
        case "upload", 201:
            return [{"kind": Kind.UPLOAD, "answer": body["version"]}]
    raise ValueError(f"{reply.status} is no answer to {request.name}")


def _read_list(body: dict[str, Any], candidates: Collection[int]) -> list[dict[str, Any]]:
    listed = {version["version"] for version in body["data"]}
    if body["current"] not in listed:
        raise ValueError(f"the live version {body['current']} is not in the list")
    live = {"kind": Kind.READ_LIVE, "answer": (body["current"], body["previous"])}
    versions = sorted(listed.union(candidates))
    return [live, *(_read_version(version, version in listed) for version in versions)]


def _read_version(version: int, exists: bool) -> dict[str, Any]:
    outcome = Outcome.DONE if exists else Outcome.NOT_FOUND
    return {"kind": Kind.READ_VERSION, "argument": version, "outcome": outcome}
