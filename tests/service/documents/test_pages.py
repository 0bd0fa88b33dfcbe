"""How a page's commands are found, and how an answer is compared with the one that it shows."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.service.documents import pages, running
from tests.service.documents.pages import shape_differences
from tests.service.running import free_port

PAGE = """\
# Title

```bash
make serve
```

In another terminal:

```bash
curl localhost:8000/train -d '{}' | tee job.json
JOB=1
```

```json
{"id": "…", "status": "queued"}
```

```sh
rm -rf var
```

```text
not the answer of a command
```

```python
print("epoch 0: 91 %")
```

```text
epoch …
```
"""


def test_steps_of_a_page_are_its_commands_with_their_answers() -> None:
    found = pages.steps(PAGE)
    assert [(step.command.language, step.command.line) for step in found] == [
        ("bash", 3),
        ("bash", 9),
        ("python", 26),
    ]
    assert [step.answer and step.answer.line for step in found] == [None, 14, 30]


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"id": "a", "epoch": 0}, {"id": "b", "epoch": 9}),
        ({"id": "…"}, {"id": 3}),
        ({"loss": 0.5}, {"loss": 1}),
        ({"data": [{"id": 1}]}, {"data": [{"id": 2}, {"id": 3}]}),
        ([{"digit": 1}, {"error": {}}], [{"error": {}}, {"digit": 2}]),
        ({"version": 3, "…": "…"}, {"version": 4, "note": "mine"}),
        ({"error": None, "epochs": []}, {"error": None, "epochs": []}),
    ],
)
def test_shape_differences_of_the_same_shape_is_empty(expected: Any, actual: Any) -> None:
    assert [*shape_differences(expected, actual)] == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"id": "a"}, {"id": 1}),
        ({"id": "a"}, {"name": "a"}),
        ({"id": "a"}, {"id": "a", "more": 1}),
        ({"epoch": 1}, {"epoch": 1.5}),
        ({"epoch": 1}, {"epoch": True}),
        ({"promoted": False}, {"promoted": True}),
        ({"error": None}, {"error": {"code": "diverged"}}),
        ({"data": []}, {"data": [1]}),
        ({"data": [1]}, {"data": []}),
        ([{"digit": 1}], [{"digit": 2}, {"error": {}}]),
        ({"version": 3, "…": "…"}, {"note": "mine"}),
    ],
)
def test_shape_differences_of_another_shape_names_it(expected: Any, actual: Any) -> None:
    assert [*shape_differences(expected, actual)]


def test_differences_of_a_problem_compares_its_code() -> None:
    problem = {"title": "A key is required", "status": 401, "code": "unauthenticated"}
    command, answer = (
        pages.Block("bash", "", 1),
        pages.Block("json", json.dumps(problem), 2),
    )
    step = pages.Step(command, answer)
    assert step.differences(json.dumps(problem)) == []
    assert step.differences(json.dumps({**problem, "code": "forbidden"}))


@pytest.mark.parametrize(("output", "is_same"), [("a 1\nb\nc", True), ("a 1\nb", False)])
def test_differences_of_text_allows_an_ellipsis(output: str, is_same: bool) -> None:
    step = pages.Step(pages.Block("bash", "", 1), pages.Block("text", "a …\nc\n", 2))
    assert (step.differences(output) == []) is is_same


@pytest.mark.parametrize(
    ("output", "is_same"),
    [("2 reads 90.96 %.", True), ("2 reads 89.96 %.", False), ("3 reads 91.03 %.", False)],
)
def test_differences_of_text_allows_a_percent_more_or_less(output: str, is_same: bool) -> None:
    (step,) = pages.steps("```bash\ncurl\n```\n```text\n2 reads 91.03 %.\n```\n")
    assert (step.differences(output) == []) == is_same


def test_steps_take_no_answer_from_the_next_section() -> None:
    page = "```bash\necho a # not a heading\n```\n\n## Next\n\n```text\nb\n```\n"
    (step,) = pages.steps(page)
    assert step.answer is None


@pytest.mark.parametrize("command", ["false", "curl localhost:8000/health/live", "echo $UNSET"])
def test_run_of_a_command_that_fails_stops(command: str, tmp_path: Path) -> None:
    page = f"```bash\nNAME=a\n```\n```bash\necho $NAME\n```\n```bash\necho b\n{command}\n```\n"
    following = "```bash\ntouch c\n```\n"
    outputs, errors = running.run(pages.steps(page + following), free_port(), tmp_path)
    assert outputs == ["", "a\n"]
    assert errors.startswith("b\n")
    assert not (tmp_path / "checkout" / "c").exists()


def test_run_of_python_uses_the_environment_of_the_tests(tmp_path: Path) -> None:
    page = "```python\nimport sys\n\nprint(sys.prefix)\n```\n"
    outputs, _ = running.run(pages.steps(page), free_port(), tmp_path)
    assert outputs == [f"{sys.prefix}\n"]
