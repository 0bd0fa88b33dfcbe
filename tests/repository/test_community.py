"""Community files: citation, hooks, workflow, issue forms, editor settings, examples."""

import configparser
import json
import re
import tomllib

import pytest
import yaml

from tests.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FORMS = [ROOT / ".github" / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")]
# All keys of a CITATION.cff, from the schema of version 1.2.0.
CITATION_KEYS = frozenset(
    re.findall(
        r"[a-z-]+",
        """
    abstract authors cff-version commit contact date-released doi identifiers keywords license
    license-url message preferred-citation references repository repository-artifact
    repository-code title type url version
        """,
    )
)
# Types of elements, and the attributes that each must have.
FORM_ELEMENTS = {
    "markdown": {"value"},
    "textarea": {"label"},
    "input": {"label"},
    "dropdown": {"label", "options"},
    "checkboxes": {"label", "options"},
}


def load_yaml(path):
    # YAML 1.1, which PyYAML reads, takes the key `on` of a workflow for a boolean.
    return yaml.safe_load((ROOT / path).read_text())


def lint_commands():
    """Return the commands of `make lint`."""
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    return [line.strip().replace("$(VENV)", ".venv") for line in recipe.splitlines()]


def test_citation_is_valid_and_names_the_version_of_the_package():
    citation = load_yaml("CITATION.cff")
    assert set(citation) <= CITATION_KEYS
    assert {"authors", "cff-version", "message", "title"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert all(author["name"] for author in citation["authors"])
    assert citation["version"] == PYPROJECT["project"]["version"]
    assert citation["license"] == PYPROJECT["project"]["license"]
    holder = re.search(r"Copyright \(c\) \d+ (.+)", (ROOT / "LICENSE").read_text())[1]
    assert [author["name"] for author in citation["authors"]] == [holder]


def test_pre_commit_runs_the_commands_of_make_lint():
    (repository,) = load_yaml(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local", "a hook of another repository would pin its own version"
    hooks = repository["hooks"]
    assert len(lint_commands()) == 3
    assert [hook["entry"] for hook in hooks] == lint_commands()
    assert {(hook["language"], hook["pass_filenames"]) for hook in hooks} == {("system", False)}


JOBS = {"checks": ".ci/run", "newer-python": "make lint test"}


@pytest.mark.parametrize(("name", "command"), JOBS.items(), ids=JOBS)
def test_workflow_runs_the_verbs(name, command):
    jobs = load_yaml(".github/workflows/ci.yml")["jobs"]
    assert jobs.keys() == JOBS.keys()
    actions = [step["uses"] for step in jobs[name]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions), actions
    assert [action.partition("@")[0] for action in actions] == [
        "actions/checkout",
        "actions/setup-python",
    ]
    commands = [step["run"] for step in jobs[name]["steps"] if "run" in step]
    assert commands == ["sudo .ci/programs", command]
    setup = python_setup(jobs[name])
    for path in setup["cache-dependency-path"].split():
        assert (ROOT / path).is_file(), path


def test_workflow_runs_everything_on_the_oldest_python_that_is_supported():
    setup = python_setup(load_yaml(".github/workflows/ci.yml")["jobs"]["checks"])
    assert PYPROJECT["project"]["requires-python"] == f">={setup['python-version']}"


def python_setup(job):
    (setup,) = [step["with"] for step in job["steps"] if "python" in step.get("uses", "")]
    return setup


def test_workflow_verbs_exist():
    verbs = re.findall(r"^ +verb ([a-z-]+(?: [a-z-]+)*)", (ROOT / ".ci/run").read_text(), re.M)
    assert "lint" in verbs
    for verb in " ".join(verbs).split():
        assert re.search(rf"^{verb}:", MAKEFILE, re.MULTILINE), verb


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_form_has_what_github_requires(path):
    form = load_yaml(path)
    assert form["name"]
    assert form["description"]
    inputs = [element for element in form["body"] if element["type"] != "markdown"]
    identifiers = [element["id"] for element in inputs]
    assert len(set(identifiers)) == len(identifiers) > 0
    for element in form["body"]:
        assert FORM_ELEMENTS[element["type"]] <= set(element["attributes"]), element
    assert any(element.get("validations", {}).get("required") for element in inputs)


def test_issues_are_opened_with_a_form():
    assert load_yaml(".github/ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": False}


def test_pull_request_template_names_verbs_that_exist():
    template = (ROOT / ".github" / "pull_request_template.md").read_text()
    verbs = re.findall(r"`make ([a-z-]+)`", template)
    assert len(verbs) > 1
    for verb in verbs:
        assert re.search(rf"^{verb}:", MAKEFILE, re.MULTILINE), verb


def test_editor_settings_agree_with_ruff():
    parser = configparser.ConfigParser(strict=True)
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    assert parser["top"]["root"] == "true"
    assert parser["*.{py,sh}"]["max_line_length"] == str(PYPROJECT["tool"]["ruff"]["line-length"])
    assert parser["Makefile"]["indent_style"] == "tab"


def test_every_example_is_in_the_readme_of_examples():
    text = (ROOT / "examples" / "README.md").read_text()
    links = set(re.findall(r"\]\(([\w.]+)\)", text))
    files = {path.name for path in (ROOT / "examples").iterdir() if path.is_file()}
    assert links == files - {"README.md"}


def test_notebook_is_stored_without_outputs():
    notebook = json.loads((ROOT / "examples" / "tutorial.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
