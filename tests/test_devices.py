"""Which device a setting names, and when PyTorch is imported to find that out."""

import subprocess
import sys

import pytest
import torch

from app import devices
from app.devices import DeviceUnavailable, check_device, may_have_accelerator, pick_device


@pytest.fixture
def nvidia(monkeypatch, tmp_path):
    """A system that looks as if it had an NVIDIA GPU, and a build of PyTorch that could use it."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(devices, "DEV", tmp_path)
    monkeypatch.setattr(devices, "version_of", lambda _: "2.15.0")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def set_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_is_always_a_device_that_exists():
    assert pick_device("auto") in ("cpu", "cuda", "mps")


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [("auto", 2, "cuda"), ("auto", 0, "cpu"), ("cuda:1", 2, "cuda:1"), ("cpu", 2, "cpu")],
)
@pytest.mark.usefixtures("nvidia")
def test_torch_decides_if_there_may_be_a_gpu(monkeypatch, name, gpus, expected):
    set_gpus(monkeypatch, gpus)
    assert pick_device(name) == expected


@pytest.mark.parametrize("name", ["cuda:2", "mps"])
@pytest.mark.usefixtures("nvidia")
def test_device_that_torch_does_not_find_is_refused(monkeypatch, name):
    set_gpus(monkeypatch, 2)
    check_device(name)  # only PyTorch can tell
    with pytest.raises(DeviceUnavailable, match=f"'{name}' does not exist. Use auto or cpu"):
        pick_device(name)


@pytest.mark.usefixtures("nvidia")
def test_gpu_does_not_matter_to_a_build_for_the_cpu(monkeypatch):
    assert may_have_accelerator()
    monkeypatch.setattr(devices, "version_of", lambda _: "2.15.0+cpu")
    assert not may_have_accelerator()


@pytest.mark.parametrize(("machine", "expected"), [("arm64", True), ("x86_64", False)])
def test_apple_silicon_has_an_accelerator(monkeypatch, machine, expected):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert may_have_accelerator() == expected


@pytest.mark.parametrize("choose", [check_device, pick_device])
def test_without_torch_the_cpu_is_the_only_device(monkeypatch, choose):
    monkeypatch.setattr(devices, "is_torch_installed", lambda: False)
    choose("auto"), choose("cpu")
    with pytest.raises(DeviceUnavailable, match="needs PyTorch, which is not installed"):
        choose("cuda")


def test_device_is_chosen_without_importing_torch_if_there_is_no_accelerator():
    code = (
        "import sys; from pathlib import Path; from app import devices;"
        "devices.DEV = Path('/none'); sys.platform = 'linux';"
        "print(devices.pick_device('auto'), devices.pick_device('cpu'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "cpu", "False"]
