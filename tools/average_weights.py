"""`python -m tools.average_weights FILE OTHER_FILE NEW_FILE`: the mean of two versions of `robust`.

If one of them is trained from the other, their mean often reads more than either (Wortsman et al.
2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time"). The card is that of OTHER_FILE, with figures of the mean.
"""

import sys
from pathlib import Path
from typing import Final

import torch

from app.database.tables import now
from app.net import Weights
from app.torch_net import net_with
from app.train.evaluation.evaluate import evaluate
from app.train.recipes.dataset import load as load_mnist
from app.train.recipes.recipes import split
from app.versions import checkpoint
from tests.conftest import DATA

CPU: Final = torch.device("cpu")


def main() -> None:
    *paths, new_path = map(Path, sys.argv[1:])
    torch.set_num_threads(1)  # the sums of several threads have other roundings
    weights = mean(*(checkpoint.read_weights(path) for path in paths))
    first, last = (checkpoint.read_card(path) for path in paths)
    mnist = load_mnist(DATA)
    metrics = evaluate(net_with(weights), mnist, CPU, split(mnist.train)[1])
    changes = {
        **dict(metrics),
        "created_at": now(),
        "epochs": [],  # after none of them the network was this one
        "note": f"mean of the weights {first.weights_digest:.12} and {last.weights_digest:.12}",
    }
    checkpoint.write(new_path, weights, last.model_copy(update=changes))


def mean(first: Weights, second: Weights) -> Weights:
    """Return the mean of two networks."""
    return {name: (array + second[name]) / 2 for name, array in first.items()}


if __name__ == "__main__":
    main()
