"""`mynet serve` on a device that raises while a file `lost` lies in the state folder.

A stand-in for a GPU on machines without one. It computes what the CPU computes, and raises CUDA's
errors. It takes the command line of `mynet`.
"""

import os
from pathlib import Path

from app import main
from app.cli import main as cli
from app.predict.device_net import DeviceNet

MARKER = Path(os.environ["MYNET_STATE_DIR"]) / "lost"


def forward(network, pixels):
    if MARKER.exists():
        raise RuntimeError("CUDA error: device-side assert triggered")
    return network.cpu_net.logits(pixels)


DeviceNet._forward = forward
main.pick_device = lambda _: "meta"

if __name__ == "__main__":
    cli.main()
