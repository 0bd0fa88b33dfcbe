"""Metrics for the model card, from logits: accuracy, confusion matrix, calibration, temperature.

NumPy alone, since the process that imports weights computes them, too.
"""

from math import nan
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.net import DIGITS
from app.versions.card import Metrics

CALIBRATION_IMAGES: Final = 10_000
# The share of digits below the threshold: of training images, and of held-out images.
OOD_QUANTILE: Final = 0.005
OOD_QUANTILE_HELD_OUT: Final = 0.009
BINS: Final = 15
CANDIDATES: Final = np.logspace(-1, 1, 801)

Logits = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]


class NotFinite(Exception):
    """The outputs of the network are not finite numbers."""


class Score(NamedTuple):
    """Mean cross-entropy, and the share of correct predictions."""

    loss: float
    accuracy: float


def metrics_of(
    logits: Logits,
    labels: Labels,
    calibration_logits: Logits,
    held_out_labels: Labels | None = None,
) -> Metrics:
    """Return the metrics of the card for the test images, (N, 10) and (N,). Raises NotFinite.

    An image below the energy threshold does not look like a digit. The threshold is a quantile of
    the logits' energy (Liu et al. 2020, "Energy-based Out-of-distribution Detection") over the
    calibration images. If these are held-out images, their labels fit the temperature. Otherwise
    they are training images, and the temperature is 1.
    """
    if not (np.isfinite(logits).all() and np.isfinite(calibration_logits).all()):
        raise NotFinite("has weights so large that MyNet's answers are not finite numbers")
    if held_out_labels is None:
        quantile, temperature = OOD_QUANTILE, 1.0
    else:
        quantile = OOD_QUANTILE_HELD_OUT
        temperature = fit_temperature(calibration_logits, held_out_labels)
    threshold = float(np.quantile(_logsumexp(_double(calibration_logits)), quantile))
    calibrated = _double(logits) / temperature
    loss, accuracy = score(calibrated, labels)
    confusion = np.zeros((DIGITS, DIGITS), np.int64)
    np.add.at(confusion, (labels, logits.argmax(1)), 1)
    return Metrics(
        test_accuracy=accuracy,
        test_loss=loss,
        calibration_error=calibration_error(calibrated, labels),
        confusion=confusion.tolist(),
        energy_threshold=threshold,
        temperature=temperature,
    )


def score(logits: NDArray[np.floating[Any]], labels: Labels) -> Score:
    """Return the loss and the accuracy of (N, 10) logits.

    The loss is NaN if one of them is not a finite number.
    """
    accuracy = float(np.mean(logits.argmax(1) == labels))
    loss = _cross_entropy(_double(logits), labels) if np.isfinite(logits).all() else nan
    return Score(loss, accuracy)


def calibration_error(logits: NDArray[np.floating[Any]], labels: Labels) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy by bin.

    Naeini et al. 2015, with the 15 bins of equal width of Guo et al. 2017, "On Calibration of
    Modern Neural Networks".
    """
    z = _double(logits)
    confidence = np.exp(z.max(1) - _logsumexp(z))
    excess = confidence - (z.argmax(1) == labels)
    bins = np.clip(np.ceil(confidence * BINS), 1, BINS).astype(np.int64) - 1
    by_bin = np.bincount(bins, excess, BINS)
    return float(np.abs(by_bin).sum()) / len(labels)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the divisor of (N, 10) logits that maximizes their likelihood.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". Candidates are half a percent
    apart; 5,000 images cannot resolve a smaller difference.
    """
    z = _double(logits)
    losses = [_cross_entropy(z / temperature, labels) for temperature in CANDIDATES]
    return float(CANDIDATES[np.argmin(losses)])


def _cross_entropy(z: NDArray[np.float64], labels: Labels) -> float:
    return float(np.mean(_logsumexp(z) - z[np.arange(len(z)), labels]))


def _logsumexp(z: NDArray[np.float64]) -> NDArray[np.float64]:
    top = z.max(1)
    sums: NDArray[np.float64] = top + np.log(np.exp(z - top[:, None]).sum(1))
    return sums


def _double(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return logits.astype(np.float64)
