"""Stub of the import worker: a few lines of Python that answer the server."""

import sys
from pathlib import Path
from typing import Any

from app.versions import checkpoint
from app.versions.registry import SHIPPED
from app.weights_import.messages import Evaluation

WEIGHTS = SHIPPED / "documented.safetensors"
READ = "import json, os, sys, time; request = json.loads(sys.stdin.readline()); "


def result_of(path: Path = WEIGHTS) -> dict[str, Any]:
    """Return the result for valid weights, with the metrics that a shipped version has."""
    card = checkpoint.read_card(WEIGHTS)
    size = path.stat().st_size
    evaluation = {"metrics": card.model_dump(), "data_digest": "0" * 64, "weights_bytes": size}
    return Evaluation.model_validate(evaluation).model_dump()


def code_for(result: dict[str, Any], path: Path = WEIGHTS) -> str:
    """Return the code that sends a result, and the content of a file after it."""
    return (
        f"content = open({str(path)!r}, 'rb').read(); "
        f"sys.stdout.buffer.write(json.dumps({result!r}).encode() + b'\\n' + content)"
    )


def command_for(code: str) -> tuple[str, ...]:
    """Return the command of a worker that reads its `request`, and runs this code."""
    return sys.executable, "-c", READ + code
