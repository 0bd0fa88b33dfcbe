"""MyNet on a device, and the CPU in its place if the device fails."""

import numpy as np
import pytest
import torch

from app.predict.device_net import DeviceNet
from app.predict.model import load_network
from app.torch_net import MyNet, net_with, to_input, weights_of

CPU, META = "cpu", "meta"


@pytest.fixture
def weights():
    return weights_of(MyNet())


def test_network_on_a_device_answers_as_the_net(weights, digits):
    """The device here is the CPU, which computes what a GPU computes."""
    network = DeviceNet(weights, load_network(weights, CPU), CPU)
    net = net_with(weights)
    expected = net(to_input(torch.from_numpy(digits))).detach().numpy()
    assert np.allclose(network.logits(digits), expected, atol=1e-6)
    assert not network.device_error


def test_device_that_raises_when_it_loads_is_replaced_by_the_cpu(weights, digits, caplog):
    """The device `meta` raises whenever a number is asked of it."""
    network, cpu_network = load_network(weights, META), load_network(weights, CPU)
    assert (network.device, cpu_network.device) == ("meta", "cpu")
    assert network.device_error.startswith("meta: Cannot copy out of meta tensor")
    assert "the CPU answers instead: device=meta" in caplog.text
    assert (network.logits(digits) == cpu_network.logits(digits)).all()
    assert (network.saliency(digits[0], 7) == cpu_network.saliency(digits[0], 7)).all()
    network.retry_device()
    assert network.device_error, "it raises still"


def test_device_that_raises_while_it_serves_is_replaced_and_retried(weights, digits, monkeypatch):
    raising = []

    def forward(self, pixels):
        if raising:
            raise RuntimeError("CUDA error: device-side assert triggered\nand more")
        return self.cpu_net.logits(pixels)

    monkeypatch.setattr(DeviceNet, "_forward", forward)
    network = load_network(weights, META)
    expected = network.logits(digits)
    assert not network.device_error
    raising.append(True)
    assert network.saliency(digits[0], 7).any()
    assert not network.device_error, "saliency does not use the device"
    assert (network.logits(digits) == expected).all()
    assert network.device_error == "meta: CUDA error: device-side assert triggered"
    raising.clear()
    network.retry_device()
    assert not network.device_error
