"""Control groups of this process: the folders of each controller's files.

A limit may be set at any level above the process (cgroups(7)): systemd's on a service or a slice,
Kubernetes' on a pod or a container, Docker's on a container.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

ROOT: Final = Path("/")


class ControlGroup(NamedTuple):
    """The folder of a group, and the version of its files, 1 or 2."""

    folder: Path
    version: int

    def read(self, name: str) -> str:
        """Return the content of a file, or an empty text if it does not exist."""
        return read(self.folder / name)


def control_groups(root: Path, controller: str) -> Iterator[ControlGroup]:
    """Yield the groups of this process that `controller` may limit. `root` has `proc` and `sys`."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            mount, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            mount, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        for folder in _folders(mount, group):
            yield ControlGroup(folder, version)


def read(file: Path) -> str:
    """Return the content of a file, or an empty text if it does not exist."""
    try:
        return file.read_text()
    except OSError:
        return ""


def _folders(mount: Path, group: str) -> list[Path]:
    """Return the folders of a group and of the groups above it.

    In a container the mount is the container's own group, whatever path the host gives it.
    """
    path = PurePosixPath(group)
    relative = [PurePosixPath(*path.parts[1:end]) for end in range(len(path.parts), 0, -1)]
    return [mount / part for part in relative]
