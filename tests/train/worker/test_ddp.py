"""Several processes, each with its share of every batch, learn what one would."""

import multiprocessing
from contextlib import closing

import pytest
import torch
from torch import distributed, optim

from app.torch_net import MyNet
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import loop
from app.train.recipes.dataset import Batches, Dataset, Digits
from app.train.worker.attempt import PeerLost
from app.train.worker.ddp import Command, DataParallelGroup, ShardedBatches

CPU = torch.device("cpu")
HYPERPARAMETERS = Hyperparameters(seed=3, epochs=2)
# Processes are forked from one that has imported all of it: each would take seconds to do so.
MNIST = Dataset(Digits(*[torch.zeros(0)] * 2), Digits(*[torch.zeros(0)] * 2), "")
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["torch._dynamo", "tests.train.worker.test_ddp"])


def digits():
    random = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (40, 28, 28), dtype=torch.uint8, generator=random)
    return Digits(pixels, torch.randint(10, (40,), generator=random))


def train(fit, batch_size, *, epochs=range(2), end_at=None):
    """The losses and the weights of a short training, ended after so many steps."""
    torch.manual_seed(3)
    torch.set_num_threads(1)
    net = MyNet()
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    batches = Batches(digits(), batch_size, CPU)
    for step in fit(net, optimizer, batches, epochs=epochs, device=CPU):
        losses.append(step.loss.item())
        if len(losses) == end_at:
            break
    return losses, torch.cat([tensor.flatten() for tensor in net.state_dict().values()])


def run_rank(rank, size, path, results, batch_size, end_at, crash_after):
    """One process of a team."""
    store = distributed.FileStore(path, size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    if rank == 0:
        try:
            with closing(DataParallelGroup()) as rank_zero:
                rank_zero.begin(HYPERPARAMETERS, MNIST)
                losses, weights = train(rank_zero.fit, batch_size, end_at=end_at)
            results.put((rank, losses, weights.numpy()))
        except PeerLost as error:
            results.put((rank, str(error), None))
        return
    peer = DataParallelGroup()
    assert peer.receive() is Command.CONTINUE
    assert peer.receive_job() == (HYPERPARAMETERS, None, None)

    def fit_until_end(*args, **options):
        for step in peer.fit(*args, **options):
            yield step
            if peer.receive() is Command.END:
                return

    losses, weights = train(fit_until_end, batch_size, end_at=crash_after)
    if crash_after is None:
        results.put((rank, losses, weights.numpy()))


def run_ranks(tmp_path, size, batch_size, end_at=None, crash_after=None):
    """Return the losses and weights of each process of one training, by rank."""
    results = FORK_SERVER.Queue()
    rank_args = (size, str(tmp_path / "store"), results, batch_size, end_at, crash_after)
    processes = [
        FORK_SERVER.Process(target=run_rank, args=(rank, *rank_args)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    answers = [results.get(timeout=240) for _ in range(size if crash_after is None else 1)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return [answer[1:] for answer in sorted(answers, key=lambda answer: answer[0])]


@pytest.mark.parametrize(("size", "batch_size"), [(2, 10), (3, 13)])
def test_a_team_learns_what_one_process_does(tmp_path, size, batch_size):
    """40 digits in batches of 13 leave one row for three processes."""
    losses, weights = train(loop.fit, batch_size)
    for rank_losses, rank_weights in run_ranks(tmp_path, size, batch_size):
        assert rank_losses == pytest.approx(losses, rel=1e-5)
        torch.testing.assert_close(torch.from_numpy(rank_weights), weights, rtol=1e-5, atol=1e-6)


def test_all_end_where_the_leader_ends(tmp_path):
    (first, _), (second, _) = run_ranks(tmp_path, 2, 10, end_at=3)
    assert len(first) == 3
    assert first == second


def test_a_process_that_is_lost_breaks_the_training(tmp_path):
    ((message, _),) = run_ranks(tmp_path, 2, 10, crash_after=2)
    assert message.startswith("A process of the distributed training was lost")


def damaged_batches():
    raise ValueError("a label is no digit")
    yield


def use_destroyed_group(path, results):
    """What the calls of a rank raise before and after its process group was destroyed."""
    store = distributed.FileStore(path, 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    group = DataParallelGroup()
    steps = group.fit(MyNet(), None, damaged_batches(), epochs=range(1), device=CPU)
    calls = (
        lambda: next(steps),
        lambda: group.broadcast(Command.SAVE),
        group.receive,
        group.receive_job,
        lambda: train(group.fit, 10),
        group.close,
    )
    for call in calls:
        try:
            call()
        except (PeerLost, ValueError) as error:
            results.put((type(error).__name__, str(error)))
        if distributed.is_initialized():
            distributed.destroy_process_group()


def test_destroyed_process_group_means_a_lost_peer(tmp_path):
    """Ray Train destroys the groups of the ranks that live when another one has died."""
    results = FORK_SERVER.Queue()
    process = FORK_SERVER.Process(
        target=use_destroyed_group, args=(str(tmp_path / "store"), results)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    own, *after = (results.get(timeout=1) for _ in range(6))
    assert own == ("ValueError", "a label is no digit")
    assert {kind for kind, _ in after} == {"PeerLost"}
    assert all("process of the distributed training was lost" in message for _, message in after)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_shares_are_whole_together(rows):
    batch = (torch.arange(rows), torch.arange(rows))
    shards = [ShardedBatches([batch], rank, 3) for rank in range(3)]
    rows_by_shard = [next(iter(shard))[0].tolist() for shard in shards]
    assert sum(shard.share for shard in shards) == pytest.approx(1)
    all_rows = [
        row
        for shard, rows in zip(shards, rows_by_shard, strict=True)
        if shard.share
        for row in rows
    ]
    assert sorted(all_rows) == list(range(rows))
    assert all(rows_by_shard), "each process has something to compute with"
