"""The lock has every requirement of `pyproject.toml`, pinned by version and hash."""

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

LOCKS = ("default", "without-torch", "with-extras", "with-ray")
PREDICT_LOCKS = ("predict", "predict-with-extras")
EXTRAS = {
    "with-extras": ("otel", "mlflow", "postgres", "s3", "gs"),
    "with-ray": ("otel", "mlflow", "postgres", "s3", "gs", "ray"),
    "predict-with-extras": ("otel", "postgres", "s3", "gs"),
}
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; .*?)? \\$")
TORCH_PACKAGES = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def pins(name):
    """Return each package's versions, which may differ from platform to platform."""
    found = {}
    for line in (ROOT / "deploy" / "lock" / f"{name}.txt").read_text().splitlines():
        if match := PIN.match(line):
            found.setdefault(match[1], []).append(match[2])
    return found


def direct_requirements():
    for folder in (ROOT, ROOT / "client"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())
        for requirement in (
            *project["project"]["dependencies"],
            *project["build-system"]["requires"],
        ):
            yield Requirement(requirement)


def extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional_dependencies = project["optional-dependencies"]
    for lock, names in EXTRAS.items():
        yield from (
            (lock, Requirement(requirement))
            for name in names
            for requirement in optional_dependencies[name]
        )


@pytest.mark.parametrize("name", LOCKS + PREDICT_LOCKS)
def test_every_line_is_a_pin_with_its_hashes(name):
    text = (ROOT / "deploy" / "lock" / f"{name}.txt").read_text()
    for entry in re.split(r"(?m)^(?=[a-z])", re.sub(r"(?m)^#.*\n", "", text))[1:]:
        head, *hashes = entry.rstrip().splitlines()
        assert PIN.match(head), head
        assert hashes
        for hash_line in hashes:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", hash_line), hash_line


@pytest.mark.parametrize("requirement", [*direct_requirements()], ids=str)
def test_what_is_asked_for_is_pinned(requirement):
    for name in LOCKS + PREDICT_LOCKS:
        versions = pins(name).get(requirement.name, [])
        if name == "default" or not TORCH_PACKAGES.fullmatch(requirement.name):
            assert versions, f"{requirement} is not in {name}.txt: make lock"
            assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize(("lock", "requirement"), [*extras()], ids=str)
def test_extras_are_pinned(lock, requirement):
    versions = pins(lock)[requirement.name]
    assert all(requirement.specifier.contains(version) for version in versions)


def test_the_locks_agree():
    whole, rest, extras, on_ray = map(pins, LOCKS)
    assert {name for name in whole if not TORCH_PACKAGES.fullmatch(name)} == set(rest)
    assert set(rest) < set(extras) < set(on_ray)
    assert all(whole[name] == extras[name] == versions for name, versions in rest.items())
    assert all(on_ray[name] == versions for name, versions in extras.items())


def test_predict_locks_hold_the_other_locks_versions_and_nothing_of_torch():
    """Fewer packages than without torch: not those that only torch needs, nor MLflow's."""
    rest, extras = pins("without-torch"), pins("with-extras")
    predict, predict_extras = map(pins, PREDICT_LOCKS)
    assert set(predict) < set(rest) and set(predict) < set(predict_extras) < set(extras)
    assert all(extras[name] == versions for name, versions in predict_extras.items())
    assert all(rest[name] == versions for name, versions in predict.items())
    assert not any(TORCH_PACKAGES.fullmatch(name) or name == "sympy" for name in predict_extras)


def image_packages(*arguments):
    """Return the version of what `make sbom` lists for an image, by its build arguments."""
    command = [sys.executable, ROOT / "deploy" / "held.py", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    found = dict(line.split()[0].split("==") for line in lines)
    assert len(found) == len(lines), "one version of each"
    return found, done.stdout


def test_the_default_image_holds_no_cuda():
    found, text = image_packages("https://index.example/whl/cpu", "")
    assert {name for name in found if TORCH_PACKAGES.fullmatch(name)} == {"torch", "torchvision"}
    assert set(found) - {"torch", "torchvision"} < set(pins("without-torch"))
    # The hashes in the lock are those of other files than the index has.
    assert re.search(r"^torch==\S+\ntorchvision==\S+\n", text, re.MULTILINE)
    # What other systems and other Pythons want, and what is removed when the image is built.
    assert not {"colorama", "setuptools"} & set(found)


@pytest.mark.parametrize(
    ("index", "extras", "extra_package"),
    [("", "", "triton"), ("cpu", "1", "psycopg"), ("cpu", "ray", "ray"), ("", "ray", "ray")],
)
def test_other_images_hold_more(index, extras, extra_package):
    default_packages, _ = image_packages("cpu", "")
    found, _ = image_packages(index, extras)
    assert extra_package in found and extra_package not in default_packages
    assert found.items() > default_packages.items()
    assert ("triton" in found) == (not index)


def test_what_no_lock_has_is_not_listed():
    with pytest.raises(subprocess.CalledProcessError):
        image_packages("https://index.example/whl/cu130", "")
