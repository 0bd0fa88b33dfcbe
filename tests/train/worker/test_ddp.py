"""Several processes, each with its share of every batch, learn what one would."""

import multiprocessing
from contextlib import closing

import pytest
import torch
from torch import distributed, optim

from app.net import MyNet
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import loop
from app.train.recipes.dataset import Batches, Digits
from app.train.worker.ddp import Command, RankZero, WorkerRank, ShardedBatches
from app.train.worker.state import PeerLost

CPU = torch.device("cpu")
WANTED = Hyperparameters(seed=3, epochs=2)
# Processes are forked from one that has imported all of it: each would take seconds to do so.
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["torch._dynamo", "tests.train.worker.test_ddp"])


def digits():
    random = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (40, 28, 28), dtype=torch.uint8, generator=random)
    return Digits(pixels, torch.randint(10, (40,), generator=random))


def trained(fit, batch_size, *, epochs=range(2), end_at=None):
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
    return losses, torch.cat([each.flatten() for each in net.state_dict().values()])


def place(rank, size, path, told, batch_size, end_at, dies):
    """One process of a team."""
    store = distributed.FileStore(path, size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    if rank == 0:
        try:
            with closing(RankZero()) as leader:
                leader.begin(WANTED, None)
                losses, weights = trained(leader.fit, batch_size, end_at=end_at)
            told.put((rank, losses, weights.numpy()))
        except PeerLost as error:
            told.put((rank, str(error), None))
        return
    member = WorkerRank()
    assert member.receive() is Command.CONTINUE
    assert member.receive_job() == (WANTED, None)

    def follow(*given, **options):
        for step in member.fit(*given, **options):
            yield step
            if member.receive() is Command.END:
                return

    losses, weights = trained(follow, batch_size, end_at=dies)
    if dies is None:
        told.put((rank, losses, weights.numpy()))


def team(tmp_path, size, batch_size, end_at=None, dies=None):
    """What each of a team's processes tells, by its rank."""
    told = FORK_SERVER.Queue()
    given = (size, str(tmp_path / "store"), told, batch_size, end_at, dies)
    processes = [FORK_SERVER.Process(target=place, args=(rank, *given)) for rank in range(size)]
    for process in processes:
        process.start()
    answers = [told.get(timeout=120) for _ in range(size if dies is None else 1)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return [answer[1:] for answer in sorted(answers, key=lambda answer: answer[0])]


@pytest.mark.parametrize(("size", "batch_size"), [(2, 10), (3, 13)])
def test_a_team_learns_what_one_process_does(tmp_path, size, batch_size):
    """40 digits in batches of 13 leave one row for three processes."""
    losses, weights = trained(loop.fit, batch_size)
    for shown, learned in team(tmp_path, size, batch_size):
        assert shown == pytest.approx(losses, rel=1e-5)
        torch.testing.assert_close(torch.from_numpy(learned), weights, rtol=1e-5, atol=1e-6)


def test_all_end_where_the_leader_ends(tmp_path):
    (first, _), (second, _) = team(tmp_path, 2, 10, end_at=3)
    assert len(first) == 3
    assert first == second


def test_a_process_that_is_lost_breaks_the_training(tmp_path):
    ((said, _),) = team(tmp_path, 2, 10, dies=2)
    assert said.startswith("the processes of this training lost one another")


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_shares_are_whole_together(rows):
    batch = (torch.arange(rows), torch.arange(rows))
    shares = [ShardedBatches([batch], rank, 3) for rank in range(3)]
    given = [next(iter(each))[0].tolist() for each in shares]
    assert sum(each.share for each in shares) == pytest.approx(1)
    kept = [row for each, rows in zip(shares, given, strict=True) if each.share for row in rows]
    assert sorted(kept) == list(range(rows))
    assert all(given), "each process has something to compute with"
