"""The files of control groups below a folder that stands for the root of the file system."""

from pathlib import Path
from typing import Final

# What `/proc/self/cgroup` says of a process in group {}, by the version of control groups.
V2: Final = "0::{}\n"
V1: Final = "5:memory:/x\n4:cpu,cpuacct:{}\n0::/ignored\n"


def write_control_group(root: Path, cgroup: str, files: dict[str, str]) -> None:
    """Write `/proc/self/cgroup`, and files below `/sys/fs/cgroup` by their path there."""
    contents = {"proc/self/cgroup": cgroup}
    contents |= {f"sys/fs/cgroup/{name}": f"{content}\n" for name, content in files.items()}
    for name, content in contents.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
