"""ONNX export of a version, for runtimes other than PyTorch.

Import this module only when it is needed: it loads `onnx`.
"""

from typing import Final

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from app.net import DIGITS, LAYERS, MEAN, PIXELS, STD, Weights
from app.versions.card import Card

# From 2022, so that older runtimes can read it.
OPSET: Final = 17
IR_VERSION: Final = 8
NORMALISATION: Final = (
    "28 by 28 grey pixels in MNIST's form, ink light on dark, row by row from the top left; "
    f"each value from 0 to 255 becomes (value / 255 - {MEAN}) / {STD}"
)


def to_onnx(weights: Weights, card: Card) -> bytes:
    """Return the model: `image`, float32 [batch, 784], to `probabilities`, float32 [batch, 10]."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", PIXELS])
    probabilities = helper.make_tensor_value_info(
        "probabilities", TensorProto.FLOAT, ["batch", DIGITS]
    )
    temperature = np.array(card.temperature, np.float32)
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    tensors.append(numpy_helper.from_array(temperature, "temperature"))
    graph = helper.make_graph(_nodes(), "mynet", [image], [probabilities], tensors)
    model = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="mynet",
        producer_version=card.code_version,
        model_version=card.version,
    )
    helper.set_model_props(model, _metadata(card))
    content: bytes = model.SerializeToString()
    return content


def _nodes() -> list[NodeProto]:
    nodes, flow = [], "image"
    for layer in LAYERS:
        inputs = [flow, f"{layer}.weight", f"{layer}.bias"]
        nodes.append(helper.make_node("Gemm", inputs, [layer], layer, transB=1))
        flow = f"{layer}.relu"
        nodes.append(helper.make_node("Relu", [layer], [flow], flow))
    # The last layer has no ReLU: its logits become probabilities.
    logits = [*LAYERS][-1]
    nodes[-1] = helper.make_node("Div", [logits, "temperature"], ["calibrated"], "calibrated")
    nodes.append(helper.make_node("Softmax", ["calibrated"], ["probabilities"], "softmax", axis=1))
    return nodes


def _metadata(card: Card) -> dict[str, str]:
    return {
        "version": str(card.version),
        "weights_digest": card.weights_digest,
        "normalisation": NORMALISATION,
    }
