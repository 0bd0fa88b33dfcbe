import numpy as np
import pytest
import torch

from app.net import MyNet, to_input
from app.predict.model import INPUT, SMALL_BATCH, Model

CPU = torch.device("cpu")


@pytest.fixture
def model(registry):
    net = MyNet()
    net.load_state_dict(registry.weights(1))
    return Model(1, net, registry.card(1).energy_threshold, CPU)


@pytest.mark.parametrize("images", [1, SMALL_BATCH, SMALL_BATCH + 1, 50])
def test_answers_are_the_networks(model, mnist, images):
    pixels = mnist.test.pixels[:images]
    logits = model.net(to_input(pixels))
    answers = model.answer(pixels.numpy())
    assert [answer.digit for answer in answers] == logits.argmax(1).tolist()
    for answer, row in zip(answers, logits.double().softmax(1), strict=True):
        assert answer.probabilities == pytest.approx(row.tolist(), abs=1e-6)
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-12)


def test_the_table_of_inputs_is_to_input_bit_for_bit(mnist):
    pixels = mnist.test.pixels[:10]
    assert np.array_equal(INPUT.take(pixels.numpy()).reshape(10, -1), to_input(pixels).numpy())


def test_the_company_changes_no_answer(model, mnist):
    pixels = mnist.test.pixels[:32].numpy()
    batch_answers = model.answer(pixels)
    single_answers = [model.answer(image[None])[0] for image in pixels]
    for one, other in zip(batch_answers, single_answers, strict=True):
        assert one.digit == other.digit
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_the_threshold_says_what_looks_like_a_digit(model, mnist):
    pixels = mnist.test.pixels[:200]
    energies = model.net(to_input(pixels)).logsumexp(1)
    expected = (energies >= model.energy_threshold).tolist()
    assert [answer.is_digit for answer in model.answer(pixels.numpy())] == expected
    assert sum(expected) >= 195


def test_saliency_is_where_the_ink_spoke(model, mnist):
    pixels = mnist.test.pixels[0].numpy()
    saliency = model.saliency(pixels, 7)
    assert (saliency.shape, saliency.dtype, saliency.max()) == ((28, 28), np.uint8, 255)
    assert not saliency[pixels == 0].any()


def test_erasing_what_spoke_takes_more_from_the_digit_than_erasing_other_ink(model, mnist):
    def logit(pixels):
        return model.net(to_input(torch.from_numpy(pixels)[None]))[0, digit].item()

    count = 0
    for index in range(20):
        pixels, digit = mnist.test.pixels[index].numpy(), int(mnist.test.labels[index])
        order = np.argsort(model.saliency(pixels, digit), axis=None)
        ink = [position for position in order if pixels.flat[position]]
        salient, other = pixels.copy(), pixels.copy()
        salient.flat[ink[-30:]] = 0
        other.flat[ink[:30]] = 0
        count += logit(salient) < logit(other)
    assert count >= 18


def test_a_blank_image_has_no_saliency(model):
    assert not model.saliency(np.zeros((28, 28), np.uint8), 3).any()


def test_where_a_device_raises_the_cpu_answers(digits, caplog):
    """The device `meta` raises whenever a number is asked of it."""
    net = MyNet()
    meta_model = Model(1, net, 0.0, torch.device("meta"))
    assert meta_model.device_error.startswith("meta: Cannot copy out of meta tensor")
    assert "the CPU answers instead: device=meta" in caplog.text
    cpu_model = Model(1, net, 0.0, torch.device("cpu"))
    assert meta_model.answer(digits) == cpu_model.answer(digits)
    assert (meta_model.saliency(digits[0], 7) == cpu_model.saliency(digits[0], 7)).all()
    meta_model.retry_device()
    assert meta_model.device_error, "it raises still"


def test_a_device_that_raises_while_it_serves(digits, monkeypatch):
    real, raising = Model._by_device, []

    def by_device(self, pixels):
        if raising:
            raise RuntimeError("CUDA error: device-side assert triggered\nand more")
        return self.cpu_fallback._logits(pixels)

    monkeypatch.setattr(Model, "_by_device", by_device)
    model = Model(1, MyNet(), 0.0, torch.device("meta"))
    expected = model.answer(digits)
    assert not model.device_error
    raising.append(True)
    assert model.saliency(digits[0], 7).any()
    assert not model.device_error, "what explains an answer takes no device"
    assert model.answer(digits) == expected
    assert model.device_error == "meta: CUDA error: device-side assert triggered"
    raising.clear()
    model.retry_device()
    assert not model.device_error
    monkeypatch.setattr(Model, "_by_device", real)
