"""held.py TORCH_INDEX EXTRAS: print the Python packages of an image that was built with these.

Requirements, as the locks have them. Knows the locks and the Dockerfile's Python, and no image: one
that was built while PyTorch's index did not answer holds the default build.
"""

import re
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ENTRY = re.compile(r"^[a-z0-9].*\\\n(?:    --hash=.*\n)+", re.MULTILINE)
BASE = re.compile(r"^ARG BASE=python:(\d+\.\d+)", re.MULTILINE)
FROM_THE_INDEX = ("torch", "torchvision")
# Its work is done when the image is built.
EXCLUDED = ("setuptools",)


def environment() -> dict[str, str]:
    """Return the values that markers of requirements have in the image."""
    python = BASE.findall((ROOT / "Dockerfile").read_text())[0]
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
    }


def entries(lock: str) -> dict[str, str]:
    """Return the entry of each package in a lock that the image's Python needs."""
    found = {}
    for entry in ENTRY.findall((ROOT / "deploy" / "lock" / f"{lock}.txt").read_text()):
        requirement = Requirement(entry.partition("\\")[0])
        if requirement.marker is None or requirement.marker.evaluate(environment()):
            found[requirement.name] = entry
    return found


def held(index: str, extras: str) -> dict[str, str]:
    """Return the entry of each package in the image.

    The packages from PyTorch's index have no hashes.
    """
    default = entries("default")
    if index:
        found = entries("without-torch")
        found |= {name: default[name].split()[0] + "\n" for name in FROM_THE_INDEX}
    else:
        found = default
    if extras:
        found |= entries("with-ray" if extras == "ray" else "with-extras")
    return {name: found[name] for name in sorted(found) if name not in EXCLUDED}


if __name__ == "__main__":
    if re.search(r"/cu\d", sys.argv[1]):
        sys.exit("No lock has what the builds for another CUDA need: list what is in the image.")
    sys.stdout.writelines(held(*sys.argv[1:]).values())
