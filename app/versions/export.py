"""Export of a version as safetensors, PyTorch state dict or ONNX."""

from typing import Literal

from app.versions.pt_export import to_pt
from app.versions.registry import Registry

Form = Literal["safetensors", "pt", "onnx"]


def export(registry: Registry, version: int, form: Form) -> bytes:
    """Return the file as it is stored, as a state dict for `torch.load`, or as an ONNX model.

    Raises NotFound, or Conflict if the version is damaged.
    """
    if form == "safetensors":
        return registry.content(version)
    weights = registry.weights(version)
    if form == "pt":
        return to_pt(weights)
    from app.versions.onnx_export import to_onnx  # here, because no other format needs onnx

    return to_onnx(weights, registry.card(version))
