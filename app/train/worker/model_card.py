"""Evaluation of a job's network, and the card of the version that it becomes."""

from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Any, Final

import torch

from app.database.tables import now
from app.net import InvalidWeights, Weights
from app.torch_net import MyNet, weights_of
from app.train.evaluation import evaluate
from app.train.evaluation.metrics import NotFinite
from app.train.recipes.dataset import Dataset, Digits
from app.train.worker import training_data
from app.train.worker.attempt import Diverged, JobAttempt
from app.versions import checkpoint
from app.versions.card import Card, CheckpointName, EpochRecord

DIVERGED: Final = "The training diverged: {problem}. Try a smaller learning_rate."


def evaluate_model(
    attempt: JobAttempt,
    model: MyNet,
    dataset: Dataset,
    epochs: Sequence[EpochRecord],
    held_out: Digits | None,
) -> tuple[Weights, Card]:
    """Return the weights of a network and its card after these epochs. Raises Diverged."""
    try:
        weights = weights_of(model)
        metrics = evaluate.evaluate(model, dataset, attempt.device, held_out)
    except InvalidWeights as error:
        raise Diverged(DIVERGED.format(problem=error)) from error
    except NotFinite as error:
        raise Diverged(DIVERGED.format(problem=f"the network {error}")) from error
    card = Card(
        **metrics.model_dump(),
        **_parent(attempt),
        origin="trained",
        created_at=now(),
        recipe=attempt.hyperparameters.recipe,
        hyperparameters=attempt.job.hyperparameters,
        epochs=list(epochs),
        seconds=sum(epoch.seconds for epoch in epochs),
        job=attempt.job.id,
        note=attempt.hyperparameters.note,
        feedback=training_data.corrections_of(dataset),
        data=dataset.sources,
        data_digest=dataset.digest,
        weights_digest=checkpoint.digest(weights),
        device=str(attempt.device),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        code_version=version_of("mynet"),
    )
    return weights, card


def _parent(attempt: JobAttempt) -> dict[str, Any]:
    """Return the fields of the card about the weights that the training began with."""
    init = attempt.hyperparameters.init
    if init is None:
        return {"parent": attempt.registry.current()}
    if init.job is None:
        return {"parent": init.version}
    return {"parent_checkpoint": CheckpointName.model_validate(init, from_attributes=True)}
