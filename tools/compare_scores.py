"""`python -m tools.compare_scores FILE`: scores that could tell digits from other images.

For each score, the share of other images that it accepts, at the threshold that accepts the same
share of the held-out digits as the card's does. The other scores are those of `pytorch-ood`, on the
128 outputs of the last hidden layer: ViM's residual (Wang et al. 2022), the k-nearest neighbours
(Sun et al. 2022) and Mahalanobis' distance (Lee et al. 2018). It is no dependency:
`pip install pytorch-ood`.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from app.torch_net import MyNet, net_with, to_input
from app.train.evaluation.metrics import OOD_QUANTILE_HELD_OUT
from app.train.recipes.dataset import Digits
from app.train.recipes.dataset import load as load_mnist
from app.train.recipes.recipes import split
from app.versions import checkpoint
from tests.conftest import DATA
from tools.other_datasets import OTHER_IMAGES, normalised
from tools.pictures import Pixels

# The paper's k for a training set of this size, and half of the layer as ViM's subspace.
NEIGHBOURS: Final = 50
SUBSPACE: Final = 64
FIT_IMAGES: Final = 20_000
Score: TypeAlias = Callable[[Tensor], NDArray[np.float64]]


def main() -> None:
    net = net_with(checkpoint.read_weights(Path(sys.argv[1])))
    mnist = load_mnist(DATA)
    train, held_out = split(mnist.train)
    others = {name: _features(net, _pixels(draw())) for name, draw in OTHER_IMAGES.items()}
    print("| score | µs | MNIST's test digits |", " | ".join(others), "|")
    print("|---|---|---|" + "---|" * len(others))
    test = _features(net, mnist.test.pixels)
    for name, score in _scores(net, train.subset(torch.arange(FIT_IMAGES))):
        digits = score(_features(net, held_out.pixels))
        threshold = float(np.quantile(digits, 1 - OOD_QUANTILE_HELD_OUT))
        began = time.process_time()
        accepted = [float((score(test) <= threshold).mean())]
        microseconds = (time.process_time() - began) / len(test) * 1e6
        accepted += [float((score(features) <= threshold).mean()) for features in others.values()]
        shares = " | ".join(f"{100 * share:.2f} %" for share in accepted)
        print(f"| {name} | {microseconds:.1f} | {shares} |")


def _scores(net: MyNet, digits: Digits) -> Iterator[tuple[str, Score]]:
    """Yield names and functions from features, (N, 128), to scores, (N,): high for no digit."""
    from pytorch_ood.detector import KNN, Mahalanobis, ViM

    features, labels = _features(net, digits.pixels), digits.labels
    weight, bias = net.fc4.weight.detach(), net.fc4.bias.detach()
    yield "energy", lambda z: -F.linear(z, weight, bias).logsumexp(1).numpy()
    for detector in (
        ViM(None, SUBSPACE, weight, bias),
        KNN(None, NEIGHBOURS),
        Mahalanobis(None),
    ):
        detector.fit_features(features, labels)
        yield (
            type(detector).__name__,
            lambda z, score=detector.predict_features: score(z).numpy(),
        )


def _features(net: MyNet, pixels: Tensor) -> Tensor:
    """Return the outputs of the last hidden layer, (N, 128)."""
    with torch.inference_mode():
        x = F.relu(net.fc2(F.relu(net.fc1(to_input(pixels)))))
        return F.relu(net.fc3(x)).clone()


def _pixels(images: Iterator[Pixels]) -> Tensor:
    """Return what normalisation gives for the images that it does not refuse."""
    accepted = [pixels for pixels in map(normalised, images) if pixels is not None]
    return torch.from_numpy(np.stack(accepted))


if __name__ == "__main__":
    main()
