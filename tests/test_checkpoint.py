import pickle

import pytest
import torch

from app import checkpoint
from app.checkpoint import BadCheckpoint
from app.net import MyNet
from app.registry import SHIPPED

DOCUMENTED = SHIPPED / "documented.safetensors"


def test_weights_and_card_travel_together(tmp_path):
    weights, card = MyNet().state_dict(), checkpoint.read_card(DOCUMENTED)
    path = tmp_path / "1.safetensors"
    checkpoint.write(path, weights, card)
    assert checkpoint.read_card(path) == card
    for name, tensor in checkpoint.read_weights(path).items():
        assert torch.equal(tensor, weights[name])


def test_the_digest_is_of_the_weights_alone(tmp_path):
    weights, card = checkpoint.read_weights(DOCUMENTED), checkpoint.read_card(DOCUMENTED)
    assert checkpoint.digest(weights) == card.weights_digest
    noted = card.model_copy(update={"note": "another card"})
    checkpoint.write(tmp_path / "1.safetensors", weights, noted)
    assert checkpoint.digest(checkpoint.read_weights(tmp_path / "1.safetensors")) == (
        card.weights_digest
    )
    weights["fc4.bias"][0] += 1
    assert checkpoint.digest(weights) != card.weights_digest


@pytest.mark.parametrize("form", ["state dict", "zip", "legacy"])
def test_the_tutorials_state_dict_is_read(tmp_path, form):
    weights, path = MyNet().state_dict(), tmp_path / "mynet.pt"
    torch.save(weights, path, _use_new_zipfile_serialization=form != "legacy")
    assert torch.equal(checkpoint.read_weights(path)["fc1.weight"], weights["fc1.weight"])


class Bomb:
    def __reduce__(self):
        return (print, ("a pickle ran code",))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.safetensors", b"", "neither"),
        ("a.safetensors", b"\xff" * 100, "neither"),
        ("a.pt", b"no checkpoint", "neither"),
        ("a.pt", b"", "neither"),
        ("a.pt", pickle.dumps(Bomb(), protocol=2), "neither"),
        ("a.pt", None, "cannot be read"),
        ("a.safetensors", None, "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_words(tmp_path, capsys, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=said):
        checkpoint.read_weights(path)
    assert "ran code" not in capsys.readouterr().out


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(MyNet(), tmp_path / "model.pt")
    with pytest.raises(BadCheckpoint, match="neither"):
        checkpoint.read_weights(tmp_path / "model.pt")


def test_another_networks_weights_are_refused(tmp_path):
    torch.save({"fc1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(BadCheckpoint, match="does not hold MyNet's weights: its names"):
        checkpoint.read_weights(tmp_path / "other.pt")


def test_a_file_without_a_card_is_refused_as_a_version(tmp_path):
    import safetensors.torch

    safetensors.torch.save_file(MyNet().state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(BadCheckpoint, match="no readable card"):
        checkpoint.read_card(tmp_path / "bare.safetensors")
