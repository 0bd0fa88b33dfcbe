"""Saved states: whole or absent, put back as they were, and kept as long as they are needed."""

import errno
from pathlib import Path

import pytest
import torch

from app.train.worker import state
from app.train.worker.state import CorruptCheckpoint, Position


@pytest.fixture
def model():
    return torch.nn.Linear(2, 2)


@pytest.fixture
def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def test_what_is_saved_is_put_back(tmp_path, model, optimizer):
    path = tmp_path / "jobs" / "job.pt"
    assert state.restore(path, model, optimizer) is None
    position = Position(4, losses=[torch.tensor(0.1), torch.tensor(2.5)], seconds=1.5)
    state.save(path, model, optimizer, position)
    assert [entry.name for entry in path.parent.iterdir()] == ["job.pt"]
    torch.manual_seed(999)
    weight = model.weight.detach().clone()
    torch.nn.init.zeros_(model.weight)
    restored = state.restore(path, model, optimizer)
    assert (restored.epoch, restored.batches_done, restored.seconds) == (4, 2, 1.5)
    assert restored.losses == position.losses
    assert torch.equal(torch.get_rng_state(), position.random)
    assert torch.equal(model.weight, weight)


def test_the_number_of_threads_is_put_back(tmp_path, model, optimizer):
    initial_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(initial_threads + 1)
        state.save(tmp_path / "job.pt", model, optimizer, Position())
        torch.set_num_threads(initial_threads)
        state.restore(tmp_path / "job.pt", model, optimizer)
        assert torch.get_num_threads() == initial_threads + 1
    finally:
        torch.set_num_threads(initial_threads)


@pytest.mark.parametrize("content", [b"", b"damaged", b"PK\x03\x04"])
def test_a_file_that_is_no_state_is_told(tmp_path, model, optimizer, content):
    (tmp_path / "job.pt").write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=r"job\.pt is not a saved state"):
        state.restore(tmp_path / "job.pt", model, optimizer)


def test_the_state_of_another_network_is_told(tmp_path, model, optimizer):
    other = torch.nn.Linear(3, 3)
    state.save(tmp_path / "job.pt", other, torch.optim.SGD(other.parameters()), Position())
    with pytest.raises(CorruptCheckpoint):
        state.restore(tmp_path / "job.pt", model, optimizer)


def test_a_full_disk_leaves_the_state_before(tmp_path, model, optimizer, monkeypatch):
    path = tmp_path / "job.pt"
    state.save(path, model, optimizer, Position(1))

    def full(self, _):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            state.save(path, model, optimizer, Position(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["job.pt"]
    assert state.restore(path, model, optimizer).epoch == 1
