"""Test accuracy and CPU seconds of the recipes `quick` and `documented`, over several seeds.

    python -m tools.recipe_seeds --quick 20 --documented 20

One thread, with the jobs' loop. The recipes take turns, so the seconds of both are comparable.
Normalising the images counts; loading MNIST and the evaluation do not.
"""

import argparse
import time
from collections import defaultdict
from statistics import mean, stdev
from typing import Final

import torch

from app.config.settings import load_settings
from app.train.evaluation import evaluate
from app.train.jobs.hyperparameters import Hyperparameters, Recipe
from app.train.recipes.dataset import Dataset, load
from app.train.recipes.recipes import RECIPES

CPU: Final = torch.device("cpu")
COMPARED: Final[tuple[Recipe, ...]] = ("quick", "documented")


def train(recipe: Recipe, data: Dataset, seed: int) -> tuple[float, float]:
    """Return the test accuracy in percent, and the CPU seconds of the training."""
    hyperparameters = Hyperparameters(recipe=recipe, seed=seed)
    torch.manual_seed(seed)
    started = time.process_time()
    setup = RECIPES[recipe](hyperparameters, data.train, CPU)
    epochs = range(hyperparameters.epochs)
    for _ in setup.fit(setup.model, setup.optimizer, setup.batches, epochs=epochs, device=CPU):
        pass
    seconds = time.process_time() - started
    return 100 * evaluate.score(setup.net, data.test, CPU).accuracy, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for recipe in COMPARED:
        parser.add_argument(f"--{recipe}", type=int, default=20, metavar="SEEDS")
    counts = vars(parser.parse_args())
    torch.set_num_threads(1)
    data, results = load(load_settings().data_dir), defaultdict(list)
    for seed in range(1, max(counts.values()) + 1):
        for recipe in (name for name in COMPARED if seed <= counts[name]):
            results[recipe].append(train(recipe, data, seed))
            print(seed, recipe, *(f"{value:.2f}" for value in results[recipe][-1]), flush=True)
    for recipe in COMPARED:
        columns = [f"{mean(v):.2f} ± {stdev(v):.2f}" for v in zip(*results[recipe], strict=True)]
        print(f"| `{recipe}` | {counts[recipe]} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
