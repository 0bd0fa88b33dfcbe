"""Requests about sweeps, as plain data; their docstrings are those of the clients' methods."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from mynet_client.calls import Request, answer_of
from mynet_client.errors import NoBestVersion
from mynet_client.sweep_answers import Sweep, Sweeps


def start_sweep(
    hyperparameters: Mapping[str, Any],
    *,
    name: str | None = None,
    promote: str | None = None,
    idempotency_key: str | None = None,
) -> Request[Sweep]:
    """Queue a job for each combination of the hyperparameters, each one value or a list of values.

    Without an idempotency key, a random one is sent, so that a retried request creates one sweep.
    """
    said = {"name": name, "promote": promote}
    fields = {key: value for key, value in said.items() if value is not None}
    headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
    body = {"json": {**hyperparameters, **fields}}
    return Request("POST", "/sweeps", answer_of(Sweep), headers=headers, body=body, repeatable=True)


def sweep(sweep: Sweep | str) -> Request[Sweep]:
    """Get a sweep."""
    return Request("GET", _path(sweep), answer_of(Sweep))


def sweeps(*, after: Sweep | str | None = None, limit: int = 20) -> Request[Sweeps]:
    """List sweeps, newest first; `after` is the last sweep of the previous page."""
    params = {"after": _id(after) if after else None, "limit": limit}
    return Request("GET", "/sweeps", answer_of(Sweeps), params)


def cancel_sweep(sweep: Sweep | str) -> Request[Sweep]:
    """Cancel the unfinished jobs of a sweep. No version of it goes live."""
    return Request("POST", _path(sweep, "/cancel"), answer_of(Sweep))


def delete_sweep(sweep: Sweep | str) -> Request[None]:
    """Delete a finished sweep with its jobs. Their versions stay."""
    return Request("DELETE", _path(sweep), lambda _: None)


def best_version(sweep: Sweep) -> int:
    """Return the number of the best version of a sweep that has ended. Raises NoBestVersion."""
    if not sweep.is_final:
        raise NoBestVersion(f"Sweep {sweep.id} is {sweep.status}. Promote its best when it ends.")
    if sweep.best is None or sweep.best.version is None:
        raise NoBestVersion(f"Sweep {sweep.id} {sweep.status} without a version to promote.")
    return sweep.best.version


def _id(sweep: Sweep | str) -> str:
    return sweep.id if isinstance(sweep, Sweep) else sweep


def _path(sweep: Sweep | str, action: str = "") -> str:
    return f"/sweeps/{quote(_id(sweep), safe='')}{action}"
