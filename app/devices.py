"""Devices to compute on: `cpu`, `cuda` and `mps`, and which of them exists.

PyTorch knows that, but its import takes seconds and half a gigabyte. So it is imported only if it
is installed and the system has an accelerator.
"""

import importlib.util
import platform
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

CPU: Final = "cpu"
DEV: Final = Path("/dev")
# Device files of NVIDIA's driver, of the same on WSL and on Jetson, and of AMD's driver. PyTorch
# calls AMD's GPUs `cuda`, too.
DEVICE_FILES: Final = ("nvidia[0-9]*", "dxg", "nvhost-gpu", "kfd")


class DeviceUnavailable(Exception):
    """The requested device does not exist."""


def is_torch_installed() -> bool:
    """Return whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def may_have_accelerator() -> bool:
    """Return whether PyTorch may find an accelerator here. If not, there is none."""
    if not is_torch_installed():
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if version_of("torch").endswith("+cpu"):
        return False  # this build knows the CPU alone
    return any(any(DEV.glob(pattern)) for pattern in DEVICE_FILES)


def check_device(name: str) -> None:
    """Check a setting without importing PyTorch. Raises DeviceUnavailable.

    A device may still be missing if the system has an accelerator: `pick_device` finds out.
    """
    if name not in ("auto", CPU) and not may_have_accelerator():
        raise _unavailable(name)


def pick_device(name: str) -> str:
    """Return the device of a setting: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises DeviceUnavailable if the accelerator does not exist.
    """
    check_device(name)
    if name == CPU or not may_have_accelerator():
        return CPU
    import torch

    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if name == "auto":
        return next((kind for kind, count in counts.items() if count), CPU)
    kind, _, index = name.partition(":")
    if int(index or 0) >= counts[kind]:
        raise _unavailable(name)
    return name


def _unavailable(name: str) -> DeviceUnavailable:
    if not is_torch_installed():
        return DeviceUnavailable(
            f"The device {name!r} needs PyTorch, which is not installed. Use auto or cpu."
        )
    return DeviceUnavailable(f"The device {name!r} does not exist. Use auto or cpu.")
