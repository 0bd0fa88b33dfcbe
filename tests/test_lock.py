"""What the image holds is what `pyproject.toml` asks for, pinned by version and hash."""

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

LOCKS = ("default", "without-torch", "with-extras", "with-ray")
EXTRAS = {
    "with-extras": ("otel", "mlflow", "postgres", "s3", "gs"),
    "with-ray": ("otel", "mlflow", "postgres", "s3", "gs", "ray"),
}
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; .*?)? \\$")
OF_TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def pins(name):
    """Give each package's versions, which may differ from platform to platform."""
    found = {}
    for line in (ROOT / "deploy" / "lock" / f"{name}.txt").read_text().splitlines():
        if match := PIN.match(line):
            found.setdefault(match[1], []).append(match[2])
    return found


def wanted():
    for folder in (ROOT, ROOT / "client"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())
        for each in (*project["project"]["dependencies"], *project["build-system"]["requires"]):
            yield Requirement(each)


def extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["optional-dependencies"]
    for lock, names in EXTRAS.items():
        yield from ((lock, Requirement(each)) for name in names for each in named[name])


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_a_pin_with_its_hashes(name):
    text = (ROOT / "deploy" / "lock" / f"{name}.txt").read_text()
    for entry in re.split(r"(?m)^(?=[a-z])", re.sub(r"(?m)^#.*\n", "", text))[1:]:
        head, *hashes = entry.rstrip().splitlines()
        assert PIN.match(head), head
        assert hashes
        for each in hashes:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", each), each


@pytest.mark.parametrize("requirement", [*wanted()], ids=str)
def test_what_is_asked_for_is_pinned(requirement):
    for name in LOCKS:
        versions = pins(name).get(requirement.name, [])
        if name == "default" or not OF_TORCH.fullmatch(requirement.name):
            assert versions, f"{requirement} is not in {name}.txt: make lock"
            assert all(requirement.specifier.contains(each) for each in versions)


@pytest.mark.parametrize(("lock", "requirement"), [*extras()], ids=str)
def test_extras_are_pinned(lock, requirement):
    versions = pins(lock)[requirement.name]
    assert all(requirement.specifier.contains(each) for each in versions)


def test_the_locks_agree():
    whole, rest, extras, on_ray = map(pins, LOCKS)
    assert {name for name in whole if not OF_TORCH.fullmatch(name)} == set(rest)
    assert set(rest) < set(extras) < set(on_ray)
    assert all(whole[name] == extras[name] == versions for name, versions in rest.items())
    assert all(on_ray[name] == versions for name, versions in extras.items())


def held(*arguments):
    """Give the version of what `make sbom` lists for an image, by its build arguments."""
    command = [sys.executable, ROOT / "deploy" / "held.py", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    found = dict(line.split()[0].split("==") for line in lines)
    assert len(found) == len(lines), "one version of each"
    return found, done.stdout


def test_the_default_image_holds_no_cuda():
    found, text = held("https://index.example/whl/cpu", "")
    assert {name for name in found if OF_TORCH.fullmatch(name)} == {"torch", "torchvision"}
    assert set(found) - {"torch", "torchvision"} < set(pins("without-torch"))
    # The hashes in the lock are those of other files than the index has.
    assert re.search(r"^torch==\S+\ntorchvision==\S+\n", text, re.MULTILINE)
    # What other systems and other Pythons want, and what is removed when the image is built.
    assert not {"colorama", "setuptools"} & set(found)


@pytest.mark.parametrize(
    ("index", "extras", "more"),
    [("", "", "triton"), ("cpu", "1", "psycopg"), ("cpu", "ray", "ray"), ("", "ray", "ray")],
)
def test_other_images_hold_more(index, extras, more):
    plain, _ = held("cpu", "")
    found, _ = held(index, extras)
    assert more in found and more not in plain
    assert found.items() > plain.items()
    assert ("triton" in found) == (not index)


def test_what_no_lock_has_is_not_listed():
    with pytest.raises(subprocess.CalledProcessError):
        held("https://index.example/whl/cu130", "")
