"""Evaluation for the model card: accuracy, confusion matrix, calibration, temperature."""

from math import isfinite
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from app.net import DIGITS, MyNet, to_input
from app.train.recipes.dataset import Dataset, Digits
from app.versions.card import Metrics

CHUNK: Final = 2000
CALIBRATION_IMAGES: Final = 10_000
# The share of digits below the threshold: of training images, and of held-out images.
OOD_QUANTILE: Final = 0.005
OOD_QUANTILE_HELD_OUT: Final = 0.0075
BINS: Final = 15


class NotFinite(Exception):
    """The outputs of the network are not finite numbers."""


class Score(NamedTuple):
    """Mean cross-entropy, and the share of correct predictions."""

    loss: float
    accuracy: float


def logits_of(model: MyNet, pixels: Tensor, device: torch.device) -> Tensor:
    """Return the logits of (N, 28, 28) uint8 pixels: (N, 10) float32, on the CPU."""
    with torch.inference_mode():
        chunks = [model(to_input(chunk).to(device)).cpu() for chunk in torch.split(pixels, CHUNK)]
    return torch.cat(chunks)


def score(model: MyNet, digits: Digits, device: torch.device) -> Score:
    """Return the loss and the accuracy, as recorded after each epoch."""
    return _score(logits_of(model, digits.pixels, device), digits.labels)


def evaluate(
    model: MyNet, data: Dataset, device: torch.device, held_out: Digits | None = None
) -> Metrics:
    """Return the metrics of the card, on the test images. Raises NotFinite.

    An image below the energy threshold does not look like a digit. The threshold is a quantile of
    the logits' energy (Liu et al. 2020, "Energy-based Out-of-distribution Detection") over the
    held-out images. The temperature is fitted to them, too. Without held-out images, the quantile
    is that of training images, and the temperature is 1.
    """
    logits = logits_of(model, data.test.pixels, device)
    calibration_logits = logits_of(
        model, (held_out or data.train).pixels[:CALIBRATION_IMAGES], device
    )
    quantile = OOD_QUANTILE_HELD_OUT if held_out else OOD_QUANTILE
    threshold = calibration_logits.logsumexp(1).quantile(quantile).item()
    temperature = fit_temperature(calibration_logits, held_out.labels) if held_out else 1.0
    logits = logits / temperature
    loss, accuracy = _score(logits, data.test.labels)
    cells = data.test.labels * DIGITS + logits.argmax(1)
    confusion = torch.bincount(cells, minlength=DIGITS**2).view(DIGITS, DIGITS)
    if not isfinite(loss + threshold):
        raise NotFinite("has weights so large that MyNet's answers are not finite numbers")
    return Metrics(
        test_accuracy=accuracy,
        test_loss=loss,
        calibration_error=calibration_error(logits, data.test.labels),
        confusion=confusion.tolist(),
        energy_threshold=threshold,
        temperature=temperature,
    )


def correct_mask(model: MyNet, digits: Digits, device: torch.device) -> Tensor:
    """Return for which images the prediction is correct: (N,) bool."""
    return logits_of(model, digits.pixels, device).argmax(1) == digits.labels


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy by bin.

    Naeini et al. 2015, with the 15 bins of equal width of Guo et al. 2017, "On Calibration of
    Modern Neural Networks".
    """
    confidence, predictions = logits.double().softmax(1).max(1)
    excess = confidence - (predictions == labels).double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    by_bin = torch.zeros(BINS, dtype=torch.float64).index_add(0, bins, excess)
    return by_bin.abs().sum().item() / len(labels)


def _score(logits: Tensor, labels: Tensor) -> Score:
    correct = int((logits.argmax(1) == labels).sum())
    return Score(F.cross_entropy(logits, labels).item(), correct / len(labels))


CANDIDATES: Final = torch.logspace(-1, 1, 801, dtype=torch.float64)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the divisor of (N, 10) logits that maximizes their likelihood.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". Candidates are half a percent
    apart; 5,000 images cannot resolve a smaller difference.
    """
    logits = logits.double()
    losses = [
        F.cross_entropy(logits / float(temperature), labels).item() for temperature in CANDIDATES
    ]
    return float(CANDIDATES[losses.index(min(losses))])
