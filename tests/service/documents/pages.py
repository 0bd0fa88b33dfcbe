"""Commands and answers of a Markdown page, and how an answer is compared.

A block of `bash` or `python` is a command. If the next block of its section is `json` or `text`, it
is the answer: of JSON the shape is compared, in text `…` stands for anything, and percentages may
differ by one. Other blocks are not run.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

# A fenced block, or the beginning of a heading.
BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$|^#+ ", re.MULTILINE | re.DOTALL)
MAX_SHOWN: Final = 500
# A busy machine is slow enough for a stream of events to send one.
HEARTBEAT: Final = re.compile(r"^: heartbeat\n\n", re.MULTILINE)
# What a seed trains differs by CPU.
PERCENT: Final = re.compile(r"\d+\.\d+(?= %)")
MAX_POINTS: Final = 1.0
# As a value of JSON: anything. As a key: more fields, which are not shown.
ELLIPSIS: Final = "…"
COMMANDS: Final = ("bash", "python")
ANSWERS: Final = ("json", "text")


class Block(NamedTuple):
    """A fenced block; `line` counts from 1 in its page."""

    language: str
    content: str
    line: int


class Step(NamedTuple):
    command: Block
    answer: Block | None

    @property
    def problem_code(self) -> str | None:
        """Return the code of the problem that the answer shows, or None."""
        if self.answer is None or self.answer.language != "json":
            return None
        answer = json.loads(self.answer.content)
        is_problem = isinstance(answer, dict) and {"code", "status", "title"} <= answer.keys()
        return answer["code"] if is_problem else None

    def differences(self, output: str) -> list[str]:
        """List how the output of the command differs from the answer that the page shows."""
        if self.answer is None:
            return []
        if self.answer.language == "json":
            return json_differences(self.answer.content, output, self.problem_code)
        output = HEARTBEAT.sub("", output)
        is_same = is_text(self.answer.content.strip(), output.strip())
        return [] if is_same else [f"the text differs: {output:.{MAX_SHOWN}}"]


def is_text(expected: str, output: str) -> bool:
    """Return whether the output is the text that a page shows."""
    percentages = [float(percentage) for percentage in PERCENT.findall(expected)]
    texts = [re.escape(text).replace(ELLIPSIS, ".*") for text in PERCENT.split(expected)]
    match = re.fullmatch(r"(\d+\.\d+)".join(texts), output, re.DOTALL)
    return match is not None and all(
        abs(float(actual) - percentage) <= MAX_POINTS
        for actual, percentage in zip(match.groups(), percentages, strict=True)
    )


def steps(page: str) -> list[Step]:
    """Return the commands of a page, in order, each with its answer if the page shows one."""
    blocks = [
        Block(match[1] or "", match[2] or "", page.count("\n", 0, match.start()) + 1)
        for match in BLOCK.finditer(page)
    ]
    return [
        Step(block, following if following.language in ANSWERS else None)
        for block, following in pairwise([*blocks, Block("", "", 0)])
        if block.language in COMMANDS
    ]


def json_differences(expected: str, output: str, problem_code: str | None = None) -> list[str]:
    """List how the shape of JSON differs from an example; of a problem, its code, too."""
    try:
        actual = json.loads(output)
    except json.JSONDecodeError:
        return [f"no JSON: {output:.{MAX_SHOWN}}"]
    found = [*shape_differences(json.loads(expected), actual)]
    if not found and problem_code and actual["code"] != problem_code:
        found.append(f"$.code: {actual['code']}, not {problem_code}")
    return found


def shape_differences(expected: Any, actual: Any, path: str = "$") -> Iterator[str]:
    """Yield the paths at which keys or types differ; true, false and null are compared as values.

    A list that shows elements shows each form that occurs: every actual element has one of them.
    """
    if expected == ELLIPSIS:
        return
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        yield from _object_differences(expected, actual, path)
    elif isinstance(expected, list) and isinstance(actual, list):
        yield from _list_differences(expected, actual, path)
    elif not _is_same_kind(expected, actual):
        yield f"{path}: {actual!r:.200}, where the page shows {expected!r:.200}"


def _object_differences(
    expected: Mapping[str, Any], actual: Mapping[str, Any], path: str
) -> Iterator[str]:
    missing = expected.keys() - actual.keys() - {ELLIPSIS}
    additional = set() if ELLIPSIS in expected else actual.keys() - expected.keys()
    if missing or additional:
        yield f"{path}: lacks {sorted(missing)}, and has {sorted(additional)} that are not shown"
    for name in expected.keys() & actual.keys():
        yield from shape_differences(expected[name], actual[name], f"{path}.{name}")


def _list_differences(expected: Sequence[Any], actual: Sequence[Any], path: str) -> Iterator[str]:
    if bool(expected) != bool(actual):
        yield f"{path}: {len(actual)} elements, where the page shows {len(expected)}"
    for number, element in enumerate(actual if expected else ()):
        found = [[*shape_differences(form, element, f"{path}[{number}]")] for form in expected]
        if all(found):
            yield from min(found, key=len)


def _is_same_kind(expected: Any, actual: Any) -> bool:
    if expected is None or isinstance(expected, bool):
        return expected is actual
    if isinstance(expected, float):  # JSON writes a whole number with or without its fraction
        return isinstance(actual, int | float) and not isinstance(actual, bool)
    return type(expected) is type(actual)
