"""Each form of a version says the same as the version."""

from io import BytesIO

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from app.errors import Conflict, NotFound
from app.net import SHAPES
from app.predict.live_model import LiveModel
from app.torch_net import MyNet, to_input, weights_of
from app.versions.export import export

FORMS = ("safetensors", "pt", "onnx")


@pytest.fixture
def other(registry):
    """Another version than the shipped one."""
    return registry.save(weights_of(MyNet()), registry.card(1))


def test_safetensors_is_the_file_itself(registry, other):
    assert export(registry, other, "safetensors") == registry.path(other).read_bytes()


def test_pt_is_a_state_dict_that_a_plain_mynet_loads(registry, other):
    weights = torch.load(BytesIO(export(registry, other, "pt")), weights_only=True)
    MyNet().load_state_dict(weights)
    assert {name: tensor.tolist() for name, tensor in weights.items()} == {
        name: array.tolist() for name, array in registry.weights(other).items()
    }
    assert [*weights] == [*SHAPES]


def test_onnx_is_valid_and_says_what_it_wants(registry, other):
    model = onnx.load_model_from_string(export(registry, other, "onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import] == [17]
    assert (model.ir_version, model.model_version) == (8, other)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["version"], metadata["weights_digest"]) == (
        str(other),
        registry.card(other).weights_digest,
    )
    assert "(value / 255 - 0.5) / 1.0" in metadata["normalisation"]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.usefixtures("other")
def test_onnx_answers_as_the_model_does(registry, mnist, version):
    pixels = mnist.test.pixels[:1000]
    session = onnxruntime.InferenceSession(export(registry, version, "onnx"))
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["batch", 784])
    assert session.get_outputs()[0].name == "probabilities"
    assert session.get_outputs()[0].shape == ["batch", 10]
    (probabilities,) = session.run(None, {"image": to_input(pixels).numpy()})
    model = LiveModel(registry, "cpu").get(version)
    expected = [answer.probabilities for answer in model.answer(pixels.numpy())]
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_there_or_damaged_is_refused(registry, other, form):
    with pytest.raises(NotFound):
        export(registry, 77, form)
    if form != "safetensors":
        registry.path(other).write_bytes(b"damaged")
        with pytest.raises(Conflict, match="is damaged"):
            export(registry, other, form)
