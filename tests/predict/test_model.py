import numpy as np
import pytest

from app.predict.model import Model, load_network
from app.torch_net import net_with, to_input, weights_of

CPU = "cpu"


@pytest.fixture
def net(registry):
    return net_with(registry.weights(1))


@pytest.fixture
def model(registry):
    network = load_network(registry.weights(1), CPU)
    return Model(1, network, registry.card(1).energy_threshold)


@pytest.mark.parametrize("images", [1, 5, 50])
def test_answers_are_the_networks(model, net, mnist, images):
    pixels = mnist.test.pixels[:images]
    logits = net(to_input(pixels))
    answers = model.answer(pixels.numpy())
    assert [answer.digit for answer in answers] == logits.argmax(1).tolist()
    for answer, row in zip(answers, logits.double().softmax(1), strict=True):
        assert answer.probabilities == pytest.approx(row.tolist(), abs=1e-6)
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-12)


def test_other_images_of_a_batch_change_no_answer(model, mnist):
    pixels = mnist.test.pixels[:32].numpy()
    batch_answers = model.answer(pixels)
    single_answers = [model.answer(image[None])[0] for image in pixels]
    for one, other in zip(batch_answers, single_answers, strict=True):
        assert one.digit == other.digit
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_energy_threshold_decides_what_looks_like_a_digit(model, net, mnist):
    pixels = mnist.test.pixels[:200]
    energies = net(to_input(pixels)).logsumexp(1)
    expected = (energies >= model.energy_threshold).tolist()
    assert [answer.is_digit for answer in model.answer(pixels.numpy())] == expected
    assert sum(expected) >= 195


def test_temperature_divides_the_logits(net, mnist):
    pixels = mnist.test.pixels[:3]
    network = load_network(weights_of(net), CPU)
    expected = (net(to_input(pixels)).double() / 2).softmax(1).tolist()
    answers = Model(1, network, 0.0, temperature=2.0).answer(pixels.numpy())
    assert np.allclose([answer.probabilities for answer in answers], expected, atol=1e-6)
