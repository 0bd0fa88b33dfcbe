import errno
import os
import pickle
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import safetensors.torch
import torch

from app.torch_net import MyNet, weights_of
from app.versions import checkpoint, weights_file
from app.versions.checkpoint import BadCheckpoint, IncompatibleWeights, UnreadableCheckpoint
from app.versions.registry import SHIPPED

DOCUMENTED = SHIPPED / "documented.safetensors"


def test_weights_and_card_travel_together(tmp_path):
    weights, card = weights_of(MyNet()), checkpoint.read_card(DOCUMENTED)
    path = tmp_path / "1.safetensors"
    checkpoint.write(path, weights, card)
    digest = checkpoint.digest(weights)
    assert checkpoint.read_card(path) == card.model_copy(update={"weights_digest": digest})
    for name, tensor in checkpoint.read_weights(path).items():
        assert np.array_equal(tensor, weights[name])


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


@pytest.mark.parametrize("name", ["mynet.pt", "mynet.safetensors", "mynet"])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_state_dict_is_read_whatever_its_name(tmp_path, form, name):
    weights, path = MyNet().state_dict(), tmp_path / name
    if form == "safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=form == "zip")
    assert np.array_equal(weights_file.read(path).weights["fc1.weight"], weights["fc1.weight"])


def test_a_safetensors_file_that_begins_like_a_pickle_is_read(tmp_path):
    weights, path = MyNet().state_dict(), tmp_path / "mynet"
    for padding in range(0, 256, 8):
        content = safetensors.torch.save(weights, {"note": "x" * padding})
        if content[:1] == b"\x80":
            path.write_bytes(content)
            break
    assert np.array_equal(weights_file.read(path).weights["fc1.weight"], weights["fc1.weight"])


def test_a_state_dict_whose_tensors_share_memory_is_stored(tmp_path):
    weights, card = MyNet().state_dict(), checkpoint.read_card(DOCUMENTED)
    weights["fc4.bias"] = weights["fc3.bias"][:10]
    weights["fc3.weight"] = weights["fc3.weight"][:1, :1].expand(128, 256)
    torch.save(weights, tmp_path / "shared.pt")
    checkpoint.write(tmp_path / "1", weights_file.read(tmp_path / "shared.pt").weights, card)
    for name, array in checkpoint.read_weights(tmp_path / "1").items():
        assert np.array_equal(array, weights[name])


def test_weights_that_are_not_mynets_are_not_written(tmp_path):
    weights = weights_of(MyNet()) | {"fc1.bias": np.full(300, np.nan, np.float32)}
    with pytest.raises(IncompatibleWeights, match="not finite"):
        checkpoint.write(tmp_path / "1", weights, checkpoint.read_card(DOCUMENTED))
    assert not list(tmp_path.iterdir())


def test_an_archive_that_unpacks_to_more_than_memory_is_refused(tmp_path):
    torch.save({"x": torch.zeros(20_000_000)}, tmp_path / "large.pt")
    small = tmp_path / "small.pt"
    with ZipFile(tmp_path / "large.pt") as large, ZipFile(small, "w", ZIP_DEFLATED) as packed:
        for name in large.namelist():
            packed.writestr(name, large.read(name))
    assert small.stat().st_size < 200_000
    with pytest.raises(BadCheckpoint, match="neither"):
        weights_file.read(small)


class Bomb:
    def __reduce__(self):
        return (print, ("a pickle ran code",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", b"", "neither"),
        ("a.safetensors", b"\xff" * 100, "neither"),
        ("a.pt", b"no checkpoint", "neither"),
        ("a.pt", b"", "neither"),
        ("a.pt", pickle.dumps(Bomb(), protocol=2), "holds `print`, which is not loaded"),
        ("a.safetensors", pickle.dumps(Bomb(), protocol=4), "neither"),
        ("a.pt", b"PK\x03\x04 and no more", "neither"),
        ("a.pt", None, "cannot be read"),
        ("a.safetensors", None, "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_words(tmp_path, capsys, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=message):
        weights_file.read(path)
    assert "ran code" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_file_that_the_disk_does_not_give_is_no_bad_checkpoint(
    tmp_path, monkeypatch, name, number
):
    path, reads, read_bytes = tmp_path / name, [], Path.read_bytes
    save = torch.save if name == "a.pt" else safetensors.torch.save_file
    save(MyNet().state_dict(), path)

    def fail(self):
        reads.append(self)
        if len(reads) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(UnreadableCheckpoint, match="cannot be read: Input/output error"):
        weights_file.read(path)


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(MyNet(), tmp_path / "model.pt")
    with pytest.raises(BadCheckpoint, match=r"holds `app\.torch_net\.MyNet`, which is not loaded"):
        weights_file.read(tmp_path / "model.pt")


def test_another_networks_weights_are_refused(tmp_path):
    torch.save({"fc1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(BadCheckpoint, match="does not hold MyNet's weights: its names"):
        weights_file.read(tmp_path / "other.pt")


def test_a_file_without_a_card_is_refused_as_a_version(tmp_path):
    safetensors.torch.save_file(MyNet().state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(BadCheckpoint, match="no readable card"):
        checkpoint.read_card(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_safetensors_of_another_float_type_become_float32(tmp_path, dtype):
    state_dict = {name: tensor.to(dtype) for name, tensor in MyNet().state_dict().items()}
    safetensors.torch.save_file(state_dict, tmp_path / "1.safetensors")
    for name, array in checkpoint.read_weights(tmp_path / "1.safetensors").items():
        assert array.dtype == np.float32
        assert np.array_equal(array, state_dict[name].float())


def test_safetensors_of_whole_numbers_are_refused_with_the_types_that_fit(tmp_path):
    integers = {name: tensor.int() for name, tensor in MyNet().state_dict().items()}
    safetensors.torch.save_file(integers, tmp_path / "1.safetensors")
    with pytest.raises(IncompatibleWeights, match="has the type I32; send F32, F16, BF16 or F64"):
        checkpoint.read_weights(tmp_path / "1.safetensors")
