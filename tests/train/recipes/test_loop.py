"""Our loop against the tutorial's own code, bit for bit."""

import pytest
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Subset

from app.torch_net import MyNet
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes.dataset import Batches, Digits
from app.train.recipes.loop import Step, fit
from app.train.recipes.recipes import RECIPES
from tests.conftest import DATA

CPU = torch.device("cpu")
IMAGES = 4000


def tutorial(epochs: int) -> tuple[list[float], nn.Module]:
    """The tutorial's own calls: torchvision's transforms, a shuffling DataLoader, its loop."""
    from torchvision import datasets, transforms  # here, since they take seconds to import

    trans = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (1.0,))])
    train_set = Subset(datasets.MNIST(root=DATA, train=True, transform=trans), range(IMAGES))
    train_loader = DataLoader(dataset=train_set, batch_size=100, shuffle=True)
    torch.manual_seed(7)
    model = MyNet()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in range(epochs):
        for x, target in train_loader:
            optimizer.zero_grad()
            out = model(x)
            loss = criterion(out, target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, model


def train_documented(digits: Digits, epochs: int) -> tuple[list[Step], nn.Module]:
    torch.manual_seed(7)
    setup = RECIPES["documented"](Hyperparameters(), digits, CPU)
    steps = list(fit(setup.model, setup.optimizer, setup.batches, epochs=range(epochs), device=CPU))
    return steps, setup.model


def test_losses_and_weights_are_the_tutorials(mnist):
    digits = Digits(mnist.train.pixels[:IMAGES], mnist.train.labels[:IMAGES])
    expected_losses, expected_model = tutorial(epochs=2)
    steps, model = train_documented(digits, epochs=2)
    assert len(steps) == 80
    assert [step.loss.item() for step in steps] == expected_losses
    weights = model.state_dict()
    for name, expected in expected_model.state_dict().items():
        assert torch.equal(weights[name], expected), name


def test_an_uneven_last_batch_is_kept_as_a_data_loader_keeps_it(few_digits):
    digits = Digits(few_digits.pixels[:250], few_digits.labels[:250])
    batches = Batches(digits, 100, CPU)
    assert len(batches) == 3
    assert [len(labels) for _, labels in batches] == [100, 100, 50]


def test_every_image_comes_once_an_epoch_in_a_new_order(few_digits):
    batches = Batches(few_digits, 100, CPU)
    first, second = (torch.cat([labels for _, labels in batches]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, few_digits.labels.sort().values)


@pytest.mark.parametrize(
    ("batch", "batches", "logged", "ends"),
    [
        (100, 600, True, False),
        (99, 600, False, False),
        (600, 600, True, True),
        (50, 50, True, True),
    ],
)
def test_steps_know_what_the_tutorial_prints(batch, batches, logged, ends):
    step = Step(0, batch, batches, torch.tensor(0.0))
    assert (step.is_logged, step.ends_epoch) == (logged, ends)
