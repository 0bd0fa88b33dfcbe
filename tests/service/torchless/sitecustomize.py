"""Hide PyTorch from a process, as if it were not installed: a folder for PYTHONPATH.

Python imports this module at its start, and so do the processes that the service starts.
"""

from importlib.machinery import PathFinder

HIDDEN = ("torch", "torchvision")
_find_spec = PathFinder.find_spec


def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else _find_spec(name, path, target)


PathFinder.find_spec = find_spec
