"""A version in the forms that others read.

What enters: a version's number, and a form. What leaves: a file's bytes. This module does not know
what they are wanted for.
"""

from io import BytesIO
from typing import Literal

import torch

from app.versions.registry import Registry

Form = Literal["safetensors", "pt", "onnx"]


def export(registry: Registry, version: int, form: Form) -> bytes:
    """Return the file as it is stored, as a state dict for `torch.load`, or as an ONNX model.

    Raises NotFound, Conflict where the version is damaged.
    """
    if form == "safetensors":
        return registry.content(version)
    weights = registry.weights(version)
    if form == "pt":
        buffer = BytesIO()
        torch.save(weights, buffer)
        return buffer.getvalue()
    from app.versions.onnx_export import to_onnx  # here, since no other form needs what it loads

    return to_onnx(weights, registry.card(version))
