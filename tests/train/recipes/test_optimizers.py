"""Optimisers without the compiler: they compute the same as PyTorch's."""

import pytest
import torch
from torch import optim

from app.torch_net import MyNet
from app.train.recipes import optimizers


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 2e-5}),
        ("Adam", {"lr": 0.01, "betas": (0.9, 0.99), "fused": True}),
    ],
)
def test_every_bit_is_that_of_pytorchs_optimiser(name, options):
    trained = []
    for module in (optim, optimizers):
        torch.manual_seed(1)
        net, x = MyNet(), torch.rand(20, 784)
        optimizer = getattr(module, name)(net.parameters(), **options)
        for _ in range(3):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
        assert not net.fc1.weight.is_inference()
        trained.append([p.detach().view(torch.int32).tolist() for p in net.parameters()])
    assert trained[0] == trained[1]
