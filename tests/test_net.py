import pytest
import torch
from torch import nn
from torchvision import transforms

from app.net import DeviceUnavailable, InvalidWeights, MyNet, check_weights, pick_device, to_input


def test_the_shape_is_the_tutorials():
    layers = [module for module in MyNet().modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [
        (784, 300),
        (300, 256),
        (256, 128),
        (128, 10),
    ]
    assert sum(parameter.numel() for parameter in MyNet().parameters()) == 346_742


def test_the_input_contract_is_torchvisions_bit_for_bit(few_digits):
    trans = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (1.0,))])
    expected = torch.stack([trans(image.numpy()) for image in few_digits.pixels[:200]])
    assert torch.equal(to_input(few_digits.pixels[:200]), expected.view(-1, 784))


def test_the_input_is_not_changed_in_place(few_digits):
    original = few_digits.pixels[:5].clone()
    to_input(few_digits.pixels[:5])
    assert torch.equal(few_digits.pixels[:5], original)


def test_a_state_dict_of_mynet_passes_whatever_its_float_type():
    weights = check_weights({name: tensor.half() for name, tensor in MyNet().state_dict().items()})
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_checking_draws_nothing_from_the_random_state():
    weights = MyNet().state_dict()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check_weights(weights)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda weights: [weights], "list"),
        (lambda weights: weights | {"fc5.bias": torch.zeros(1)}, "names"),
        (lambda weights: weights | {"fc4.bias": torch.zeros(11)}, r"\(11,\)"),
        (lambda weights: weights | {"fc4.bias": torch.full((10,), torch.nan)}, "finite"),
        (
            lambda weights: weights | {"fc4.bias": 1e300 * torch.ones(10).double()},
            "finite",
        ),
        (lambda weights: weights | {"fc4.bias": torch.zeros(10, device="meta")}, "finite"),
        (lambda weights: weights | {"fc4.bias": torch.zeros(10, dtype=torch.int64)}, "finite"),
        (lambda weights: weights | {"fc4.bias": [0.0] * 10}, "shape"),
    ],
)
def test_other_weights_are_refused_in_words(corrupt, message):
    with pytest.raises(InvalidWeights, match=message):
        check_weights(corrupt(MyNet().state_dict()))


def test_auto_is_always_a_device_that_is_there():
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(DeviceUnavailable, match="cuda:99"):
        pick_device("cuda:99")
