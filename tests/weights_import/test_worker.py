"""What becomes of a file, read and evaluated for real."""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
from io import BytesIO

import pytest
import safetensors.torch
import torch

from app.errors import NotReady
from app.torch_net import MyNet, weights_of
from app.train.evaluation.evaluate import evaluate
from app.train.recipes.dataset import load
from app.versions import checkpoint
from app.versions.registry import SHIPPED
from app.weights_import import store
from app.weights_import.messages import Evaluation, ImportRequest
from app.weights_import.worker import read_file
from tests.conftest import DATA
from tests.database import before_revisions

DOCUMENTED = SHIPPED / "documented.safetensors"


@pytest.fixture
def settings(settings, small_data_dir):
    return settings.model_copy(update={"data_dir": small_data_dir})


@pytest.fixture
def make_request(settings, tmp_path):
    def make_request(content, **changes):
        path = tmp_path / "upload"
        path.write_bytes(b"")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        fields = {"path": path, "data_dir": settings.data_dir, "threads": 1}
        return ImportRequest(log_level="info", log_format="text", **(fields | changes))

    return make_request


def store_version(settings, registry, request, note=None):
    """Read a file as the worker does, and store the result as the server does."""
    evaluation, content = read_file(request)
    assert isinstance(evaluation, Evaluation)
    weights = store.check_returned_weights(content)
    card = store.store_version(settings, registry, weights, evaluation, "uploaded", note)
    return card.version


def test_a_state_dict_becomes_a_version_that_is_measured_here(settings, registry, make_request):
    torch.manual_seed(1)  # the two ways to compute may differ where two digits are as likely
    model = MyNet()
    request = make_request(model.state_dict())
    assert store_version(settings, registry, request, note="mine") == 2
    card = registry.card(2)
    assert (card.origin, card.note, card.recipe, card.job) == ("uploaded", "mine", None, None)
    dataset = load(settings.data_dir)
    expected = evaluate(model, dataset, torch.device("cpu"))
    assert (card.test_accuracy, card.confusion) == (expected.test_accuracy, expected.confusion)
    assert card.data_digest == dataset.digest
    assert card.weights_digest == checkpoint.digest(weights_of(model))
    assert registry.current() == 1, "it does not go live by itself"


def test_wrappers_of_an_uploaded_checkpoint_are_on_its_card(settings, registry, make_request):
    weights = MyNet().state_dict()
    in_module = {f"model.{name}": tensor for name, tensor in weights.items()}
    buffer = BytesIO()
    torch.save({"state_dict": in_module, "epoch": 3}, buffer, pickle_protocol=4)
    for content, wrappers in (
        (buffer.getvalue(), ["state_dict", "model."]),
        (safetensors.torch.save(in_module), ["model."]),
        (safetensors.torch.save(weights), []),
    ):
        version = store_version(settings, registry, make_request(content))
        card = registry.card(version)
        assert card.wrappers == wrappers
        assert card.weights_digest == hashlib.sha256(safetensors.torch.save(weights)).hexdigest()


def test_known_weights_are_a_new_version_without_their_old_card(settings, registry, make_request):
    request = make_request(DOCUMENTED.read_bytes(), data_dir=DATA)
    assert store_version(settings, registry, request) == 2
    card = registry.card(2)
    assert (card.origin, card.recipe, card.epochs) == ("uploaded", None, [])
    assert card.weights_digest == registry.card(1).weights_digest
    assert card.test_accuracy == registry.card(1).test_accuracy


def test_old_versions_give_way(settings, registry, make_request):
    few_versions = settings.model_copy(update={"keep_versions": 2})
    for _ in range(3):
        store_version(few_versions, registry, make_request(MyNet().state_dict()))
    assert registry.versions() == [1, 3, 4]


def test_a_file_becomes_a_version_also_while_the_database_cannot_be_used(
    settings, registry, make_request, caplog
):
    before_revisions.make(settings.effective_database_url)
    few_versions = settings.model_copy(update={"keep_versions": 1})
    for version in (2, 3):
        request = make_request(MyNet().state_dict())
        assert store_version(few_versions, registry, request) == version
    assert registry.versions() == [1, 2, 3], "all stay until it can"
    assert "old versions could not be deleted" in caplog.text


def test_a_file_becomes_a_version_also_if_an_old_one_cannot_be_deleted(
    settings, registry, make_request, monkeypatch, caplog
):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    few_versions = settings.model_copy(update={"keep_versions": 1})
    assert store_version(few_versions, registry, make_request(MyNet().state_dict())) == 2
    monkeypatch.setattr("app.versions.version_files.atomic_files.remove", fail)
    assert store_version(few_versions, registry, make_request(MyNet().state_dict())) == 3
    assert registry.versions() == [1, 2, 3]
    assert "old versions could not be deleted: error=[Errno 5] Input/output error" in caplog.text


class Bomb:
    def __reduce__(self):
        return (print, ("a pickle ran code",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no checkpoint", "neither a safetensors file nor a state dict saved by torch.save"),
        (b"PK\x03\x04 and no more", "neither"),
        (DOCUMENTED.read_bytes()[:-1], "neither"),
        (pickle.dumps(Bomb()), "neither"),
        (MyNet(), "holds `app.torch_net.MyNet`, which is not loaded: it could run code."),
    ],
)
def test_what_cannot_be_read_is_malformed(registry, make_request, capsys, content, message):
    result, weights = read_file(make_request(content))
    assert (weights, result.code) == (b"", "malformed_request")
    assert result.detail.startswith("The file ")
    assert message in result.detail
    assert "ran code" not in capsys.readouterr().out
    assert registry.versions() == [1]


def changed(**tensors):
    return MyNet().state_dict() | {
        name.replace("_", "."): tensor for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "it contains a list instead of a state dict"),
        (
            {"teacher": MyNet().state_dict()},
            r"its names are ['teacher']; MyNet's are ['fc1.bias', ",
        ),
        (changed(fc4_bias=torch.zeros(11)), "fc4.bias has shape (11,); MyNet's has (10,)"),
        (changed(fc1_bias=torch.full((300,), torch.nan)), "fc1.bias has values that are not fi"),
        (changed(fc1_bias=1e300 * torch.ones(300).double()), "not finite"),
        (safetensors.torch.save({"x": torch.zeros(1)}), "its names are ['x']"),
        (
            {name: torch.full_like(tensor, 3e38) for name, tensor in MyNet().state_dict().items()},
            "so large that MyNet's answers are not finite",
        ),
    ],
)
def test_what_is_not_mynets_is_invalid_and_says_what_would_be_right(
    registry, make_request, content, message
):
    result, weights = read_file(make_request(content))
    assert (weights, result.code) == (b"", "invalid_field")
    assert message in result.detail
    assert "upload" not in result.detail, "where the file lies is not told"
    assert registry.versions() == [1]


def test_without_mnist_it_is_not_ready(make_request, tmp_path, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [])
    request = make_request(MyNet().state_dict(), data_dir=tmp_path / "nowhere")
    result, weights = read_file(request)
    assert (weights, result.code) == (b"", "not_ready")
    assert "MNIST could not be read" in result.detail


def test_a_file_that_the_disk_does_not_give_is_not_the_clients_fault(make_request, tmp_path):
    request = make_request(b"", path=tmp_path)
    refusal, content = read_file(request)
    assert (refusal.code, content) == (NotReady.code, b"")
    assert "cannot be read: Is a directory" in refusal.detail


def test_the_process_ends_when_nobody_waits_for_it(make_request):
    request_line = make_request(MyNet().state_dict()).model_dump_json() + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "app.weights_import.worker"],
        input=request_line,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout in ("", "reading\n"), "there is no verdict"
