"""Groups of verbs about one kind of thing, such as `mynet models`."""

from collections.abc import Callable
from typing import Any, TypeVar

from typer import Typer
from typer.core import TyperCommand, TyperGroup

from app.cli import context

F = TypeVar("F", bound=Callable[..., Any])


class Verb(TyperCommand):
    """A command that takes text in UTF-8 alone: nothing else can be stored or sent."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(str(parameter.name))
            for text in value if isinstance(value, list | tuple) else [value]:
                if isinstance(text, str):
                    _check_utf_8(parameter, text)
        return rest


class Verbs(Typer):
    """A group whose commands are `Verb`."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        return super().command(name, cls=Verb, **options)


class ListByDefault(TyperGroup):
    """A group whose name alone means `list`: `mynet models` is `mynet models list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        has_verb = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if has_verb else ["list", *args])


def _check_utf_8(parameter: Any, text: str) -> None:
    """Exit 2 if bytes of an argument were not UTF-8: Python decodes these as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        is_option = parameter.param_type_name == "option"
        name = parameter.opts[0] if is_option else parameter.metavar or parameter.name.upper()
        value = "" if parameter.name == "api_key" else f": {text[:64]!a}"  # no secret is printed
        raise context.failure(f"{name} is not in UTF-8{value}. Send text in UTF-8.") from None
