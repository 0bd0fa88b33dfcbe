"""Checkpoint files as models that answer."""

from pathlib import Path

from app.devices import CPU
from app.predict.model import Model, load_network
from app.versions import checkpoint


def load_model(path: Path) -> Model:
    """Return a checkpoint's network with its threshold and temperature, on the CPU."""
    card, weights = checkpoint.read_card(path), checkpoint.read_weights(path)
    network = load_network(weights, CPU)
    return Model(card.version, network, card.energy_threshold, card.temperature)
