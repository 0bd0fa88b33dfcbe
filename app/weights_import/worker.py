"""Import worker: reads one untrusted weights file, `python -m app.weights_import.worker`.

Standard input: the request, one line of JSON. It stays open as long as the server waits. Standard
output: a line when reading starts, then one line of JSON with the new version, which is not live,
or with the error.
"""

import logging
import os
import sys
from contextlib import redirect_stdout, suppress
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path

import torch
from torch import Tensor

from app.database.tables import now
from app.errors import InvalidField, MalformedRequest, NotReady
from app.net import MyNet
from app.subprocesses import on_parent_exit
from app.telemetry import logs
from app.train.evaluation import evaluate
from app.train.recipes import dataset as data
from app.train.recipes.dataset import Dataset, DatasetUnavailable
from app.versions import checkpoint
from app.versions.bucket.object_store import BucketUnavailable
from app.versions.card import Card
from app.versions.checkpoint import BadCheckpoint, IncompatibleWeights
from app.versions.opening import open_registry
from app.versions.retention import apply_retention
from app.weights_import.parent import READING, ImportRequest, ImportResult
from app.weights_import.rlimits import apply_rlimits

log = logging.getLogger("app.weights_import.worker")


def import_file(request: ImportRequest) -> ImportResult:
    """Validate and evaluate the file and store it as a version. Return its number, or the error."""
    try:
        return ImportResult(version=_import_weights(request))
    except IncompatibleWeights as error:
        return ImportResult(code=InvalidField.code, detail=f"The file {error.problem}.")
    except BadCheckpoint as error:
        return ImportResult(code=MalformedRequest.code, detail=f"The file {error.problem}.")
    except (DatasetUnavailable, BucketUnavailable) as error:
        return ImportResult(code=NotReady.code, detail=str(error))


def _import_weights(request: ImportRequest) -> int:
    settings = request.settings
    weights = checkpoint.read_weights(request.path)
    card = _card(request, weights, data.load(settings.data_dir))
    registry = open_registry(settings)
    version = registry.save(weights, card)
    apply_retention(settings, registry)
    return version


def _card(request: ImportRequest, weights: dict[str, Tensor], dataset: Dataset) -> Card:
    model = MyNet()
    model.load_state_dict(weights)
    try:
        metrics = evaluate.evaluate(model, dataset, torch.device("cpu"))
    except evaluate.NotFinite as error:
        raise IncompatibleWeights(request.path, str(error)) from error
    return Card(
        **metrics.model_dump(),
        origin=request.origin,
        created_at=now(),
        note=request.note,
        data_digest=dataset.digest,
        weights_digest=checkpoint.digest(weights),
        torch_version=torch.__version__,
        code_version=version_of("mynet"),
    )


def main() -> None:
    request = ImportRequest.model_validate_json(sys.stdin.buffer.readline())
    on_parent_exit(partial(os._exit, 1))
    logs.configure(request.settings.log_level, request.settings.log_format)
    _prefer_as_oom_victim()
    torch.set_num_threads(request.settings.effective_train_threads)
    apply_rlimits()
    _write_line(READING)
    try:
        with redirect_stdout(sys.stderr):  # output of libraries must not mix with the result
            result = import_file(request)
    except Exception:
        log.exception("file import failed")
        sys.exit(1)
    _write_line(result.model_dump_json().encode())


def _write_line(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _prefer_as_oom_victim() -> None:
    """Make the system's out-of-memory killer pick this process before the server."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
