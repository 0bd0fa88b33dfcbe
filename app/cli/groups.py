"""Groups of verbs about one kind of thing, such as `mynet models`."""

from typing import Any

from typer.core import TyperGroup


class ListByDefault(TyperGroup):
    """A group whose name alone means `list`: `mynet models` is `mynet models list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        has_verb = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if has_verb else ["list", *args])
