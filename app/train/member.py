"""One of the processes that help with an attempt: it learns from its shares, and tells nothing.

What enters: settings, and the words of the process that leads. What leaves: gradients. This module
does not know of jobs, nor of versions.
"""

from collections.abc import Callable

import torch

from app.net import pick_device
from app.settings import Settings
from app.train import data
from app.train.resume import resume
from app.train.saved import Kept
from app.train.team import Member, Word


def help_out(settings: Settings, member: Member, kept: Kept, save: Callable[[], None]) -> None:
    """Help until the training ends; `save` is called where the leader saves.

    Raises BadDevice, Broken, NoData.
    """
    torch.set_num_threads(settings.effective_train_threads)
    if member.hear() is Word.END:
        return
    wanted, corrections = member.hear_what()
    dataset = data.load(settings.data_dir)
    if corrections is not None:
        dataset = dataset.with_corrections(corrections)
    device = pick_device(wanted.device or settings.effective_train_device)
    setup, position = resume(wanted, dataset, device, kept)
    for _ in member.fit(
        setup.model,
        setup.optimizer,
        setup.batches,
        epochs=range(position.epoch, wanted.epochs),
        device=device,
        done=position.batches_done,
    ):
        while (word := member.hear()) is Word.SAVE:
            save()
        if word is Word.END:
            return
