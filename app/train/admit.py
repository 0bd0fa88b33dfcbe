"""A file from elsewhere becomes a version: `python -m app.train.admit`.

What enters: a `.safetensors` file or a state dict that `torch.save` wrote, named by the settings on
standard input. What leaves: a version with a card, not a live one. It has a process of its own
since evaluation needs MNIST and torchvision, which the server does not load.
"""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

import torch

from app import checkpoint
from app.card import Card
from app.checkpoint import BadCheckpoint
from app.net import MyNet
from app.registry import Registry
from app.settings import Settings
from app.tables import now
from app.train import data, evaluate


def admit(path: Path, registry: Registry, data_dir: Path) -> int:
    """Check and evaluate the file, and store it. Raises BadCheckpoint, NoData."""
    weights = checkpoint.read_weights(path)
    dataset = data.load(data_dir)
    model = MyNet()
    model.load_state_dict(weights)
    card = Card(
        **evaluate.measure(model, dataset, torch.device("cpu")).model_dump(),
        origin="checkpoint",
        created_at=now(),
        note=f"loaded from {path.name}",
        data_digest=dataset.digest,
        weights_digest=checkpoint.digest(weights),
        torch_version=torch.__version__,
        code_version=version_of("mynet"),
    )
    return registry.save(weights, card)


def main() -> None:
    settings = Settings.model_validate_json(sys.stdin.read())
    if settings.checkpoint:
        try:
            admit(settings.checkpoint, Registry(settings.models_dir), settings.data_dir)
        except (BadCheckpoint, data.NoData) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
