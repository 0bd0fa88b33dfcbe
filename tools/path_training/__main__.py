"""`python -m tools.path_training`: train the candidate scorer, and print how many strings it reads.

Each step makes the paths that spell the right text likelier, and all paths less likely: the
gradient of a candidate's penalty is how often the right paths take it, less how often all do. Two
versions read the strings, so that the scorer fits more than one. It takes four minutes on two
cores.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from typing import Final

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from app.config.cpus import available_cpus
from app.read.best_path import best_path
from app.read.candidate_scorer import DROPPED_SMALL, LAYERS, WEIGHTS, CandidateScorer
from tools.path_training.examples import Example, Part, draw_examples
from tools.path_training.forward_backward import usage

PARTS: Final = (
    Part("pairs", 3000, 1.7),
    Part("pairs", 3000, 1.7),
    Part("pairs", 1500, 3.0),
    Part("touching", 1500, 1.7),
    Part("gaps", 3000, 1.7),
    Part("gaps", 3000, 1.7),
    Part("gaps", 3000, 3.0),
    Part("pairs", 2500, 1.7, "documented"),
    Part("gaps", 2500, 1.7, "documented"),
)
VALIDATION: Final = (Part("gaps", 1000, 1.7), Part("pairs", 1000, 1.7), Part("touching", 400, 1.7))
SEED: Final = 1998
HIDDEN: Final = 16
EPOCHS: Final = 16
BATCH_SIZE: Final = 40
LEARNING_RATE: Final = 5e-3
WEIGHT_DECAY: Final = 1e-2
FORBIDDEN: Final = 1e9


class ScorerNet(nn.Module):
    """The scorer with inputs that are standardized, as it is trained."""

    def __init__(self, examples: Sequence[Example]) -> None:
        super().__init__()
        inputs = torch.from_numpy(np.concatenate([example.inputs for example in examples]))
        self.mean, self.std = inputs.mean(0), inputs.std(0) + 1e-3
        self.hidden1 = nn.Linear(inputs.shape[1], HIDDEN)
        self.hidden2 = nn.Linear(HIDDEN, HIDDEN)
        self.penalty = nn.Linear(HIDDEN, 1)
        self.dropped_small = nn.Parameter(torch.tensor([2.0]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = (inputs - self.mean) / self.std
        x = torch.relu(self.hidden2(torch.relu(self.hidden1(x))))
        penalties: torch.Tensor = self.penalty(x)[:, 0]
        return penalties

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights of a scorer whose inputs are not standardized."""
        tensors = {DROPPED_SMALL: self.dropped_small.detach().numpy()}
        for name in LAYERS:
            layer = getattr(self, name)
            weight, bias = layer.weight.detach(), layer.bias.detach()
            if name == LAYERS[0]:
                weight = weight / self.std
                bias = bias - weight @ self.mean
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight.numpy(), bias.numpy()
        return tensors


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    with ProcessPoolExecutor(available_cpus()) as pool:
        drawn = pool.map(draw_examples, PARTS, count(SEED))
        validation = pool.map(partial(draw_examples, validation=True), VALIDATION, count())
        examples = [
            example for part in drawn for example in part if example and _is_usable(example)
        ]
        held_out = dict(zip((part.kind for part in VALIDATION), validation, strict=True))
    print(f"{len(examples)} strings", flush=True)
    net = ScorerNet(examples)
    _train(net, examples)
    tensors = net.tensors()
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, WEIGHTS)
    WEIGHTS.chmod(0o644)  # the library lets its owner alone read it
    scorer = CandidateScorer(tensors)
    for kind, strings in held_out.items():
        right = sum(example is not None and _reads(scorer, example) for example in strings)
        print(f"{kind}: {100 * right / len(strings):.1f} % of {len(strings)} held-out strings")


def _is_usable(example: Example) -> bool:
    """Return whether a path spells the text and drops no large part.

    The penalty of such a part is fixed. The few strings that need it would outweigh all others.
    """
    graph, inputs, digits, text = example
    right = usage(graph, np.zeros(len(inputs)), 0.0, digits=digits, text=text, dropped=FORBIDDEN)
    return right is not None and right.log_sum > -FORBIDDEN / 2


def _train(net: ScorerNet, examples: list[Example]) -> None:
    *weights, dropped_small = sorted(net.parameters(), key=lambda p: p is net.dropped_small)
    groups = [
        {"params": weights, "weight_decay": WEIGHT_DECAY},
        {"params": [dropped_small], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    steps = EPOCHS * -(-len(examples) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    order = random.Random(SEED)
    for epoch in range(EPOCHS):
        order.shuffle(examples)
        loss = 0.0
        for start in range(0, len(examples), BATCH_SIZE):
            loss += _step(net, optimizer, examples[start : start + BATCH_SIZE])
            schedule.step()
        print(f"epoch {epoch}: {loss / len(examples):.4f}", flush=True)


def _step(net: ScorerNet, optimizer: torch.optim.Optimizer, batch: Sequence[Example]) -> float:
    """Take a step, and return the sum of the losses: -log of the share of the right paths."""
    penalties = net(torch.from_numpy(np.concatenate([example.inputs for example in batch])))
    dropped_small = net.dropped_small.item()
    sizes = [len(example.inputs) for example in batch]
    loss, gradients, small_gradient = 0.0, [], 0.0
    for example, part in zip(batch, penalties.detach().split(sizes), strict=True):
        graph, _, digits, text = example
        costs = part.numpy().astype(np.float64)
        right = usage(graph, costs, dropped_small, digits=digits, text=text)
        every = usage(graph, costs, dropped_small)
        assert right is not None and every is not None, "checked beforehand"
        loss += every.log_sum - right.log_sum
        gradients.append(right.candidates - every.candidates)
        small_gradient += right.small - every.small
    optimizer.zero_grad()
    gradient = torch.from_numpy(np.concatenate(gradients) / len(batch)).float()
    penalties.backward(gradient)
    net.dropped_small.grad = torch.tensor([small_gradient / len(batch)])
    optimizer.step()
    return loss


def _reads(scorer: CandidateScorer, example: Example) -> bool:
    """Return whether the best path spells the text."""
    graph, inputs, digits, text = example
    path = best_path(graph, scorer.penalties(inputs).tolist(), scorer.dropped_small)
    return [digits[number] for number in path] == text


if __name__ == "__main__":
    main()
