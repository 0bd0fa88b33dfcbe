"""MyNet in NumPy answers as MyNet in torch does."""

import numpy as np
import pytest
import torch

from app.predict.numpy_net import NumpyNet
from app.torch_net import net_with, to_input
from app.versions import checkpoint
from app.versions.registry import SHIPPED

HIDDEN = ("fc1", "fc2", "fc3")
SHIPPED_FILES = sorted(SHIPPED.glob("*.safetensors"))


@pytest.fixture(params=SHIPPED_FILES, ids=lambda path: path.stem)
def networks(request):
    """A shipped version as both networks: NumPy's, and torch's."""
    weights = checkpoint.read_verified(request.param)
    net = net_with(weights)
    return NumpyNet(weights), net


def test_every_shipped_version_is_compared():
    assert [path.stem for path in SHIPPED_FILES] == ["documented", "robust"]


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3, 40])
def test_pixels_that_are_blank_in_some_images_or_in_all_count_as_torch_counts_them(networks, count):
    numpy_net, net = networks
    rng = np.random.default_rng(count)
    noise = rng.integers(0, 256, (count, 28, 28), np.uint8)
    column = np.zeros_like(noise)
    column[count // 2, :, 13] = 255
    for pixels in (noise, column, np.zeros_like(noise), np.full_like(noise, 255)):
        expected = net(to_input(torch.from_numpy(pixels))).numpy()
        assert np.allclose(numpy_net.logits(pixels), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_probabilities_equal_those_of_torch_on_all_test_images(networks, mnist):
    """To float32's own noise: torch's answers to one image and to many differ by up to 5e-6."""
    numpy_net, net = networks
    chunks = mnist.test.pixels.split(250)
    logits = np.concatenate([numpy_net.logits(chunk.numpy()) for chunk in chunks])
    expected = net(to_input(mnist.test.pixels))
    assert logits.shape == (10_000, 10)
    difference = torch.from_numpy(logits).double().softmax(1) - expected.double().softmax(1)
    by_image = difference.abs().amax(1)
    assert by_image.max() <= 1e-5
    assert (by_image <= 1e-6).double().mean() >= 0.99
    assert np.array_equal(logits.argmax(1), expected.argmax(1).numpy())


@torch.no_grad()
def test_activations_equal_those_of_torch(networks, mnist):
    numpy_net, net = networks
    for pixels in mnist.test.pixels[:20]:
        activations, x = numpy_net.activations(pixels.numpy()), to_input(pixels[None]).flatten(1)
        for layer, units, actual in zip(HIDDEN, (300, 256, 128), activations, strict=True):
            x = net.get_submodule(layer)(x).relu()
            assert actual.shape == (units,)
            assert np.allclose(actual, x[0].numpy(), rtol=1e-4, atol=1e-5)


def test_gradient_is_autograds(networks, mnist):
    numpy_net, net = networks
    for pixels, label in zip(mnist.test.pixels[:50], mnist.test.labels[:50], strict=True):
        digit = int(label)
        x = to_input(pixels[None]).requires_grad_()
        (expected,) = torch.autograd.grad(net(x)[0, digit], x)
        actual = numpy_net._gradient(pixels.numpy(), digit)
        assert np.allclose(actual, expected[0].numpy(), rtol=1e-4, atol=1e-5)


def test_saliency_marks_ink_alone(networks, mnist):
    pixels = mnist.test.pixels[0].numpy()
    saliency = networks[0].saliency(pixels, 7)
    assert (saliency.shape, saliency.dtype, saliency.max()) == ((28, 28), np.uint8, 255)
    assert not saliency[pixels == 0].any()


def test_erasing_salient_ink_lowers_the_digit_more_than_erasing_other_ink(networks, mnist):
    numpy_net, _ = networks
    count = 0
    for index in range(20):
        pixels, digit = mnist.test.pixels[index].numpy(), int(mnist.test.labels[index])
        order = np.argsort(numpy_net.saliency(pixels, digit), axis=None)
        ink = [position for position in order if pixels.flat[position]]
        salient, other = pixels.copy(), pixels.copy()
        salient.flat[ink[-30:]] = 0
        other.flat[ink[:30]] = 0
        count += numpy_net.logits(salient[None])[0, digit] < numpy_net.logits(other[None])[0, digit]
    assert count >= 18


def test_blank_image_has_no_saliency(networks):
    assert not networks[0].saliency(np.zeros((28, 28), np.uint8), 3).any()
