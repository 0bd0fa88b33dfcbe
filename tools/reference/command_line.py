"""Every command of `mynet`, from its Typer app."""

import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

import typer.main

from app.cli.main import app
from tools.reference.markdown import default_text, page, table, type_name


def cli_page() -> str:
    """Return the page of the command line."""
    group = typer.main.get_command(app)
    return page(
        [
            "# Command line",
            "Settings are environment variables: see [settings.md](settings.md). "
            "Every command and group has `--help`.",
            *(
                part
                for name, command in _commands("mynet", group)
                for part in _command(name, command)
            ),
        ]
    )


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child_name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _commands(f"{name} {child_name}", child)


def _command(name: str, command: Any) -> Iterator[str]:
    """Yield the parts of the page for one command, or for a group of commands."""
    hints = get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
    parameters = [item for item in command.params if not getattr(item, "hidden", False)]
    arguments = [item for item in parameters if item.param_type_name == "argument"]
    options = [item for item in parameters if item.param_type_name == "option"]
    children = getattr(command, "commands", {})
    yield f"## `{name}`"
    yield inspect.cleandoc(command.help or "")
    words = [name, *map(_argument, arguments)]
    words += ["[OPTIONS]"] * bool(options) + ["COMMAND"] * bool(children)
    yield f"```text\n{' '.join(words)}\n```"
    if arguments:
        rows = [(f"`{_argument(item)}`", *_type_and_help(item, hints)) for item in arguments]
        yield table(("argument", "type", "meaning"), rows)
    if options:
        option_rows = [_option(item, hints) for item in options]
        yield table(("option", "type", "default", "meaning"), option_rows)


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper().rstrip("….")
    name += "…" if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any, hints: dict[str, Any]) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    kind, meaning = _type_and_help(parameter, hints)
    is_flag = getattr(parameter, "is_flag", False)
    default = (
        "required" if parameter.required else "" if is_flag else default_text(parameter.default)
    )
    if isinstance(parameter.show_default, str):
        default = parameter.show_default
    return names, "flag" if is_flag else kind, default, meaning


def _type_and_help(parameter: Any, hints: dict[str, Any]) -> tuple[str, str]:
    kind = type_name(hints.get(parameter.name, str))
    variables = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
    environment = "".join(f" Environment: `{name}`." for name in variables)
    return kind, f"{parameter.help or ''}{environment}".strip()
