"""How far a network's logits can be trusted.

What enters: logits of images that it was not trained with. What leaves: the temperature that makes
confidence what it says. This module does not know where the logits come from.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

CANDIDATES: Final = torch.logspace(-1, 1, 801, dtype=torch.float64)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Give what to divide (N, 10) logits by, so that their likelihood is the greatest.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". Half a percent between candidates
    is less than 5,000 images can tell apart.
    """
    logits = logits.double()
    losses = [F.cross_entropy(logits / float(each), labels).item() for each in CANDIDATES]
    return float(CANDIDATES[losses.index(min(losses))])
