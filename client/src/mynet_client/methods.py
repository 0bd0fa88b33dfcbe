"""Client methods generated from the functions in `calls`.

A method sends the request and returns its parsed response. It has the arguments, types and
docstring of the function.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, get_args

from mynet_client.calls import Request

P = ParamSpec("P")
T = TypeVar("T")


class Sends(Protocol):
    def _send(self, call: Request[T], /) -> T: ...


class SendsLater(Protocol):
    async def _send(self, call: Request[T], /) -> T: ...


def method(build: Callable[P, Request[T]]) -> Callable[Concatenate[Sends, P], T]:
    """Return a synchronous method that sends the request of `build`."""

    def send(self: Sends, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(build(*args, **kwargs))

    _describe(send, build)
    return send


def async_method(
    build: Callable[P, Request[T]],
) -> Callable[Concatenate[SendsLater, P], Coroutine[Any, Any, T]]:
    """Return an asynchronous method that sends the request of `build`."""

    async def send(self: SendsLater, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(build(*args, **kwargs))

    _describe(send, build)
    return send


def _describe(send: Callable[..., Any], build: Callable[..., Request[Any]]) -> None:
    """Copy docstring, arguments and return type of `build` to the method, for `help()`."""
    send.__name__, send.__doc__ = build.__name__, build.__doc__
    signature = inspect.signature(build)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (answer,) = get_args(signature.return_annotation)
    send.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[itself, *signature.parameters.values()], return_annotation=answer
    )
