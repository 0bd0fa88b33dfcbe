"""State dicts of every pickle protocol are read, and nothing but weights is."""

import io
import pickle
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
import torch

from app.torch_net import MyNet
from app.versions import weights_file
from app.versions.checkpoint import BadCheckpoint, IncompatibleWeights
from app.versions.pickle_protocol import to_protocol_2

PROTOCOLS = range(1, 6)
SAVED_AS = {"archive": True, "legacy": False}


def saved(content, protocol=2, archive=True):
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=archive)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "upload").write_bytes(content)
        return weights_file.read(tmp_path / "upload")

    return read


def checkpoint_of(net, wrap):
    """Return what a training script saves: the weights, and all kinds of values beside them."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loss = net(torch.zeros(2, 784)).sum()
    loss.backward()
    optimizer.step()
    weights = OrderedDict((f"module.{name}", tensor) for name, tensor in net.state_dict().items())
    extras = {
        "epoch": 3,
        "done": True,
        "best": None,
        "rate": 0.5,
        "big": 10**30,
        "tuple": (1, 2, 3, 4),
    }
    return {
        wrap: weights,
        "optimizer": optimizer.state_dict(),
        **extras,
        "module.fc1.bias": "text",
    }


@pytest.mark.parametrize("archive", SAVED_AS.values(), ids=SAVED_AS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_state_dict_of_any_protocol_is_read(read, protocol, archive):
    net = MyNet()
    for content in (net.state_dict(), dict(net.named_parameters())):
        file_weights = read(saved(content, protocol, archive))
        assert file_weights.wrappers == []
        for name, tensor in net.state_dict().items():
            assert np.array_equal(file_weights.weights[name], tensor.numpy())


@pytest.mark.parametrize("archive", SAVED_AS.values(), ids=SAVED_AS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_checkpoint_of_any_protocol_is_unwrapped(read, protocol, archive):
    net = MyNet()
    content = checkpoint_of(net, "model_state_dict")
    weights, wrappers = read(saved(content, protocol, archive))
    assert wrappers == ["model_state_dict", "module."]
    assert np.array_equal(weights["fc4.bias"], net.fc4.bias.detach().numpy())


@pytest.mark.parametrize("archive", SAVED_AS.values(), ids=SAVED_AS)
def test_translation_changes_no_value(archive):
    content = checkpoint_of(MyNet(), "weights")
    expected = torch.load(io.BytesIO(saved(content)), weights_only=True)
    for protocol in PROTOCOLS:
        translated = to_protocol_2(saved(content, protocol, archive))
        assert str(torch.load(io.BytesIO(translated), weights_only=True)) == str(expected)
        assert to_protocol_2(translated) == translated


class Harmful:
    def __reduce__(self):
        return print, ("the pickle ran",)


@pytest.mark.parametrize("archive", SAVED_AS.values(), ids=SAVED_AS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_are_refused_by_name_and_run_nothing(read, capsys, protocol, archive):
    for content, name in (
        ({**MyNet().state_dict(), "x": Harmful()}, "print"),
        ({"state_dict": MyNet().state_dict(), "config": Fraction(1, 2)}, "Fraction"),
        (MyNet(), "app.torch_net.MyNet" if protocol > 1 else "copyreg._reconstructor"),
    ):
        with pytest.raises(BadCheckpoint, match=rf"holds `[\w.]*{name}`") as refusal:
            read(saved(content, protocol, archive))
        assert "torch.save(model.state_dict()" in refusal.value.problem
    assert capsys.readouterr().out == ""


def test_archive_of_torchscript_is_refused_in_words(read):
    buffer = io.BytesIO()
    with pytest.warns(FutureWarning):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    with pytest.raises(BadCheckpoint, match="is a TorchScript archive"):
        read(buffer.getvalue())


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04.", b"\x80\x04\x94.", b"\x80\x04\x93.", b"\x80\x04h\x07.", b"\x80\x05(lp0\n.",
        b"L119547037146038801333356L\n.", pickle.dumps({"fc1.bias": {1, 2}}, 4),
    ],
)  # fmt: skip
def test_broken_pickles_are_refused_in_words(read, content):
    with pytest.raises(BadCheckpoint, match="neither a safetensors file nor a state dict"):
        read(content)


def test_wrapped_weights_of_another_network_are_refused(read):
    other = {"state_dict": {f"model.{name}": torch.zeros(3) for name in MyNet().state_dict()}}
    with pytest.raises(IncompatibleWeights, match=r"fc1\.weight has shape \(3,\)"):
        read(saved(other, 4))
