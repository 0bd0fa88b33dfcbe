"""Import worker: reads one untrusted weights file, `python -m app.weights_import.worker`.

Standard input: the request, one line of JSON. It stays open as long as the server waits. Standard
output: a line when reading starts, then one line of JSON with the metrics or the error, then the
weights in safetensors format. The worker stores nothing: the server does that.
"""

import logging
import os
import sys
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path

import safetensors.torch
import torch

from app.errors import InvalidField, MalformedRequest, NotReady
from app.net import MyNet
from app.subprocesses import on_parent_exit
from app.telemetry import logs
from app.train.evaluation import evaluate
from app.train.recipes import dataset as data
from app.train.recipes.dataset import DatasetUnavailable
from app.versions import checkpoint
from app.versions.checkpoint import BadCheckpoint, IncompatibleWeights
from app.weights_import.messages import (
    MAX_DETAIL,
    READING,
    Evaluation,
    ImportRequest,
    Refusal,
    WorkerMetrics,
)
from app.weights_import.rlimits import apply_rlimits, forbid_new_privileges

log = logging.getLogger("app.weights_import.worker")


def read_file(request: ImportRequest) -> tuple[Evaluation | Refusal, bytes]:
    """Validate and evaluate the file. Return the metrics and the weights, or the error."""
    try:
        return _evaluated(request)
    except IncompatibleWeights as error:
        return _refusal(InvalidField.code, f"The file {error.problem}."), b""
    except BadCheckpoint as error:
        return _refusal(MalformedRequest.code, f"The file {error.problem}."), b""
    except DatasetUnavailable as error:
        return _refusal(NotReady.code, str(error)), b""


def _evaluated(request: ImportRequest) -> tuple[Evaluation, bytes]:
    weights = checkpoint.read_weights(request.path)
    dataset = data.load(request.data_dir)
    model = MyNet()
    model.load_state_dict(weights)
    try:
        metrics = evaluate.evaluate(model, dataset, torch.device("cpu"))
    except evaluate.NotFinite as error:
        raise IncompatibleWeights(request.path, str(error)) from error
    content = safetensors.torch.save(model.state_dict())
    evaluation = Evaluation(
        metrics=WorkerMetrics.model_validate(metrics.model_dump()),
        data_digest=dataset.digest,
        weights_bytes=len(content),
    )
    return evaluation, content


def _refusal(code: str, detail: str) -> Refusal:
    return Refusal.model_validate({"code": code, "detail": detail[:MAX_DETAIL]})


def main() -> None:
    request = ImportRequest.model_validate_json(sys.stdin.buffer.readline())
    on_parent_exit(partial(os._exit, 1))
    logs.configure(request.log_level, request.log_format)
    _prefer_as_oom_victim()
    torch.set_num_threads(request.threads)
    forbid_new_privileges()
    apply_rlimits()
    _write(READING + b"\n")
    try:
        with redirect_stdout(sys.stderr):  # output of libraries must not mix with the result
            result, content = read_file(request)
    except Exception:
        log.exception("file import failed")
        sys.exit(1)
    _write(result.model_dump_json().encode() + b"\n" + content)


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _prefer_as_oom_victim() -> None:
    """Make the system's out-of-memory killer pick this process before the server."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
