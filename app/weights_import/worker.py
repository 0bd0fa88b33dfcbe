"""Import worker: reads one untrusted weights file, `python -m app.weights_import.worker`.

Standard input: the request, one line of JSON. It stays open as long as the server waits. Standard
output: a line when reading starts, then one line of JSON with the metrics or the error, then the
weights in safetensors format. The worker stores nothing: the server does that. It imports PyTorch
only to read a state dict.
"""

import logging
import os
import sys
from contextlib import redirect_stdout
from functools import partial
from typing import Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from app.errors import InvalidField, MalformedRequest, NotReady
from app.mnist import dataset as mnist
from app.mnist.dataset import DatasetUnavailable
from app.net import DIGITS, Weights
from app.predict.numpy_net import NumpyNet
from app.sandbox.limits import forbid_new_privileges, prefer_as_oom_victim
from app.subprocesses import on_parent_exit
from app.telemetry import logs
from app.train.evaluation.metrics import CALIBRATION_IMAGES, Logits, NotFinite, metrics_of
from app.versions import weights_file
from app.versions.checkpoint import BadCheckpoint, IncompatibleWeights, UnreadableCheckpoint
from app.weights_import.messages import (
    MAX_DETAIL,
    READING,
    Evaluation,
    ImportRequest,
    Refusal,
    WorkerMetrics,
)
from app.weights_import.rlimits import apply_rlimits

# As in `app.train.evaluation.evaluate`.
CHUNK: Final = 2000
log = logging.getLogger("app.weights_import.worker")


def read_file(request: ImportRequest) -> tuple[Evaluation | Refusal, bytes]:
    """Validate and evaluate the file. Return the metrics and the weights, or the error."""
    try:
        return _evaluated(request)
    except IncompatibleWeights as error:
        return _refusal(InvalidField.code, f"The file {error.problem}."), b""
    except UnreadableCheckpoint as error:  # the disk's fault, not the client's
        return _refusal(NotReady.code, f"The file {error.problem}. Try again later."), b""
    except BadCheckpoint as error:
        return _refusal(MalformedRequest.code, f"The file {error.problem}."), b""
    except DatasetUnavailable as error:
        return _refusal(NotReady.code, str(error)), b""


def _evaluated(request: ImportRequest) -> tuple[Evaluation, bytes]:
    weights, wrappers = weights_file.read(request.path)
    dataset = mnist.load(request.data_dir)
    test_logits = _logits_of(weights, dataset.test.pixels)
    train_logits = _logits_of(weights, dataset.train.pixels[:CALIBRATION_IMAGES])
    try:
        metrics = metrics_of(test_logits, dataset.test.labels, train_logits)
    except NotFinite as error:
        raise IncompatibleWeights(request.path, str(error)) from error
    content = safetensors.numpy.save(weights)
    evaluation = Evaluation(
        metrics=WorkerMetrics.model_validate(metrics.model_dump()),
        data_digest=dataset.digest,
        wrappers=wrappers,
        weights_bytes=len(content),
    )
    return evaluation, content


def _logits_of(weights: Weights, pixels: NDArray[np.uint8]) -> Logits:
    """Return the logits of (N, 28, 28) pixels: (N, 10)."""
    network = NumpyNet(weights)
    logits = np.empty((len(pixels), DIGITS), np.float32)
    with np.errstate(all="ignore"):  # `metrics_of` refuses what is not finite
        for start in range(0, len(pixels), CHUNK):
            part = slice(start, start + CHUNK)
            logits[part] = network.logits(pixels[part])
    return logits


def _refusal(code: str, detail: str) -> Refusal:
    return Refusal.model_validate({"code": code, "detail": detail[:MAX_DETAIL]})


def main() -> None:
    request = ImportRequest.model_validate_json(sys.stdin.buffer.readline())
    on_parent_exit(partial(os._exit, 1))
    logs.configure(request.log_level, request.log_format)
    prefer_as_oom_victim()
    threadpool_limits(request.threads)
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


if __name__ == "__main__":
    main()
