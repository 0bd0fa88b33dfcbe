import pytest
import torch

from app.torch_net import MyNet
from app.train.jobs import job
from app.train.jobs.hyperparameters import RECIPE_DEFAULTS, Hyperparameters
from app.train.recipes import drawn_images, recipes
from app.train.recipes.augmentation import NEGATIVE_SHARE, AugmentedBatches
from app.train.recipes.dataset import Digits
from app.train.recipes.drawn_images import Drawing, DrawnImages
from app.train.recipes.ema import DECAY, EMAModel
from app.train.recipes.loop import fit
from tests.train.worker.test_resume import interrupt_batch

CPU = torch.device("cpu")


@pytest.fixture
def few_synthetic(monkeypatch):
    """Fewer drawn pictures, so that a set-up takes a moment."""
    monkeypatch.setattr(drawn_images, "SYNTHETIC_DIGITS", 40)
    monkeypatch.setattr(drawn_images, "ALLOGRAPHS", 30)
    monkeypatch.setattr(drawn_images, "NEGATIVES", 40)


@pytest.fixture
def setup(few_digits, few_synthetic):  # noqa: ARG001
    torch.manual_seed(3)
    return recipes.robust(Hyperparameters(recipe="robust", epochs=2), few_digits, CPU)


@pytest.mark.parametrize(("recipe", "defaults"), RECIPE_DEFAULTS.items())
def test_each_recipe_has_its_defaults(recipe, defaults):
    complete = Hyperparameters(recipe=recipe)
    assert {name: getattr(complete, name) for name in defaults} == defaults
    assert Hyperparameters(recipe=recipe, epochs=3).epochs == 3
    assert Hyperparameters.model_validate_json(f'{{"recipe": "{recipe}"}}') == complete
    assert (Hyperparameters().epochs, Hyperparameters().batch_size) == (10, 100)


def test_the_robust_recipe_holds_images_back(few_digits, setup):
    train_digits, held_out = recipes.split(few_digits)
    assert len(held_out) == len(few_digits) // 10
    assert torch.equal(setup.held_out.pixels, held_out.pixels)
    all_pixels = torch.cat([train_digits.pixels, held_out.pixels]).flatten(1)
    assert torch.equal(all_pixels.sort(0)[0], few_digits.pixels.flatten(1).sort(0)[0])
    assert setup.batches.images.digits == len(train_digits) + 40 + 30


def test_the_documented_recipe_trains_what_becomes_the_version(few_digits):
    setup = recipes.documented(Hyperparameters(), few_digits, CPU)
    assert setup.net is setup.model
    assert setup.held_out is None


@pytest.mark.usefixtures("few_synthetic")
def test_batches_hold_every_digit_once_and_some_pictures_of_none(mnist):
    digits = Digits(mnist.train.pixels[:40], mnist.train.labels[:40])
    images = DrawnImages(digits, torch.full((5, 28, 28), 9, dtype=torch.uint8), 1, Drawing())
    batches = AugmentedBatches(images, 50, CPU)
    all_batches = list(batches)
    assert len(batches) == len(all_batches) == 3
    sizes = [len(inputs) for inputs, _ in all_batches]
    assert sizes == [50 + round(NEGATIVE_SHARE * 50)] * 2 + [10 + round(NEGATIVE_SHARE * 10)]
    targets = torch.cat([targets for _, targets in all_batches])
    assert torch.allclose(targets.sum(1), torch.ones(len(targets)))
    hard_labels = targets[targets.max(1).values == 1].argmax(1)
    labels = images.labels[:110]
    assert torch.equal(hard_labels.bincount(minlength=10), labels.bincount(minlength=10))
    assert (targets == 0.1).all(1).sum() == sum(sizes) - 110


def test_the_version_is_the_average_of_the_weights(setup):
    net, average = setup.model.net, setup.net
    steps = list(fit(setup.model, setup.optimizer, setup.batches, epochs=range(1), device=CPU))
    assert int(setup.model.steps) == len(steps) == len(setup.batches)
    assert not torch.equal(net.fc1.weight, average.fc1.weight)
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_the_average_follows_as_it_says():
    net = MyNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    averaged = EMAModel(net, optimizer)
    averaged.steps.fill_(10**6)
    initial_bias = net.fc4.bias.detach().clone()
    with torch.no_grad():
        net.fc4.bias += 1
    optimizer.step()
    assert torch.allclose(
        averaged.average.fc4.bias - initial_bias, torch.tensor(1 - DECAY), atol=1e-6
    )


@pytest.mark.usefixtures("few_synthetic")
def test_a_robust_job_interrupted_three_times_ends_with_the_very_same_weights(
    start, store, registry, monkeypatch
):
    """Early in the first epoch of 90 batches, after the first batch of the second, and later."""
    hyperparameters = {"recipe": "robust", "epochs": 2, "batch_size": 20, "promote": "never"}
    reference_run = start(**hyperparameters)
    reference_run.run()
    expected = registry.card(store.job(reference_run.job.id).result["version"])
    interrupted_run = start(**hyperparameters)
    for number in (3, 91, 100):
        with monkeypatch.context() as patch:
            interrupt_batch(patch, number)
            with pytest.raises(KeyboardInterrupt):
                interrupted_run.run()
        job.requeue(store, store.job(interrupted_run.job.id))
        torch.manual_seed(number)  # another process has whatever random state
        interrupted_run = start(interrupted_run.job.id)
    interrupted_run.run()
    result = registry.card(store.job(interrupted_run.job.id).result["version"])
    assert result.weights_digest == expected.weights_digest
    assert (result.recipe, result.temperature) == ("robust", expected.temperature)
    assert result.temperature != 1
