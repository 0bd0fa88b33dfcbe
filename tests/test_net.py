import numpy as np
import pytest
import torch
from torch import nn

from app.net import SHAPES, InvalidWeights, check_weights
from app.torch_net import MyNet, net_with, to_input, weights_of


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
    from torchvision import transforms  # here, since it takes seconds to import

    trans = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (1.0,))])
    expected = torch.stack([trans(image.numpy()) for image in few_digits.pixels[:200]])
    assert torch.equal(to_input(few_digits.pixels[:200]), expected.view(-1, 784))


def test_the_input_is_not_changed_in_place(few_digits):
    original = few_digits.pixels[:5].clone()
    to_input(few_digits.pixels[:5])
    assert torch.equal(few_digits.pixels[:5], original)


@pytest.fixture
def weights():
    return dict(weights_of(MyNet()))


def test_shapes_are_those_of_the_network_in_its_order():
    expected = {name: tuple(tensor.shape) for name, tensor in MyNet().state_dict().items()}
    assert [*SHAPES.items()] == [*expected.items()]


def test_weights_of_a_network_make_the_same_network(weights):
    assert weights_of(net_with(weights)).keys() == weights.keys()
    for name, array in weights_of(net_with(weights)).items():
        assert np.array_equal(array, weights[name])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_weights_pass_whatever_their_float_type(weights, dtype):
    checked = check_weights({name: array.astype(dtype) for name, array in weights.items()})
    assert {array.dtype for array in checked.values()} == {np.dtype(np.float32)}
    assert [*checked] == [*SHAPES]


def test_checked_weights_are_copies(weights):
    checked = check_weights(weights)
    checked["fc4.bias"][:] = 7
    assert not (weights["fc4.bias"] == 7).any()


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda weights: [weights], "list"),
        (lambda weights: weights | {"fc5.bias": np.zeros(1)}, "names"),
        (lambda weights: weights | {"fc4.bias": np.zeros(11)}, r"\(11,\)"),
        (lambda weights: weights | {"fc4.bias": np.full(10, np.nan)}, "finite"),
        (lambda weights: weights | {"fc4.bias": np.full(10, 1e300)}, "finite"),
        (lambda weights: weights | {"fc4.bias": torch.zeros(10, device="meta")}, "finite"),
        (lambda weights: weights | {"fc4.bias": np.zeros(10, np.int64)}, "finite"),
        (lambda weights: weights | {"fc4.bias": [0.0] * 10}, "shape"),
    ],
)
def test_other_weights_are_refused_in_words(weights, corrupt, message):
    with pytest.raises(InvalidWeights, match=message):
        check_weights(corrupt(weights))
