"""The versions of Python: what is promised is what the tests run on."""

import re
import tomllib

import pytest
import yaml

from tests.conftest import ROOT

PROJECTS = [ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml"]


def versions_in_ci():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    found = set()
    for job in workflow["jobs"].values():
        found.update(job.get("strategy", {}).get("matrix", {}).get("python-version", ()))
        for step in job["steps"]:
            found.add(step.get("with", {}).get("python-version", "${{"))
    return {version for version in found if not version.startswith("${{")}


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_classifiers_are_the_versions_that_ci_runs(path):
    project = tomllib.loads(path.read_text())["project"]
    classifiers = [name.removeprefix("Programming Language :: Python :: ") for name in
                   project["classifiers"]]  # fmt: skip
    assert set(classifiers) == versions_in_ci()
    assert project["requires-python"] == f">={min(classifiers, key=by_number)}"


def by_number(version):
    return [int(part) for part in version.split(".")]


def test_image_and_instructions_name_a_version_that_ci_runs():
    image = re.search(r"^ARG BASE=python:([\d.]+)", (ROOT / "Dockerfile").read_text(), re.M)[1]
    assert image in versions_in_ci()
    install = (ROOT / "docs" / "how-to" / "install.md").read_text()
    assert (
        f"The tests run on Python {', '.join(sorted(versions_in_ci(), key=by_number))}," in install
    )
