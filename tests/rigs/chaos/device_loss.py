"""`mynet serve` on a device that raises while a file `lost` lies in the state folder.

What enters: the command line of `mynet`. What leaves: a service whose predictions run on a device
that is none: its numbers are those of the CPU, and its errors are those of CUDA. For machines
without a GPU.
"""

import os
from pathlib import Path

import torch

from app import main
from app.cli import main as cli
from app.predict.model import Model

MARKER = Path(os.environ["MYNET_STATE_DIR"]) / "lost"


def by_device(model, pixels):
    if MARKER.exists():
        raise RuntimeError("CUDA error: device-side assert triggered")
    return model.cpu_fallback._logits(pixels)


Model._by_device = by_device
main.pick_device = lambda _: torch.device("meta")

if __name__ == "__main__":
    cli.main()
