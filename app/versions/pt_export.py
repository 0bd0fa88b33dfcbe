"""State dict of a version, as `torch.save` writes it, made without PyTorch.

PyTorch would take seconds and half a gigabyte for each download, and is not installed everywhere.
The format is that of PyTorch 1.6 and later: a zip archive with a pickle of the names and shapes,
and a file for the values of each tensor (docs.pytorch.org, "Serialization semantics"). The pickle
names functions of PyTorch, so Python's pickler, which imports what it names, cannot write it.
"""

import pickle
from io import BytesIO
from typing import Any, Final
from zipfile import ZipFile

from app.net import Weights

FOLDER: Final = "mynet"
FORMAT_VERSION: Final = "3\n"
ORDERED_DICT: Final = b"ccollections\nOrderedDict\n"
REBUILD: Final = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE: Final = b"ctorch\nFloatStorage\n"


def to_pt(weights: Weights) -> bytes:
    """Return the bytes of a file that `torch.load` reads as a state dict."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:  # stored, as PyTorch wants it
        archive.writestr(f"{FOLDER}/data.pkl", _pickle(weights))
        archive.writestr(f"{FOLDER}/byteorder", "little")
        for index, array in enumerate(weights.values()):
            archive.writestr(f"{FOLDER}/data/{index}", array.astype("<f4").tobytes())
        archive.writestr(f"{FOLDER}/version", FORMAT_VERSION)
    return buffer.getvalue()


def _pickle(weights: Weights) -> bytes:
    """Return the pickle of an OrderedDict of tensors, protocol 2."""
    items = b"".join(
        _value(name) + _tensor(str(index), array.shape)
        for index, (name, array) in enumerate(weights.items())
    )
    filled = _call(ORDERED_DICT) + pickle.MARK + items + pickle.SETITEMS
    return pickle.PROTO + b"\x02" + filled + pickle.STOP


def _tensor(key: str, shape: tuple[int, ...]) -> bytes:
    """Return `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`."""
    size = 1
    strides: tuple[int, ...] = ()
    for length in reversed(shape):
        strides = (size, *strides)
        size *= length
    storage = _tuple(_value("storage"), STORAGE, _value(key), _value("cpu"), _value(size))
    return _call(
        REBUILD,
        storage + pickle.BINPERSID,
        *map(_value, (0, shape, strides, False)),
        _call(ORDERED_DICT),
    )


def _call(function: bytes, *arguments: bytes) -> bytes:
    return function + _tuple(*arguments) + pickle.REDUCE


def _tuple(*values: bytes) -> bytes:
    return pickle.MARK + b"".join(values) + pickle.TUPLE


def _value(value: Any) -> bytes:
    """Return the pickle of a plain value, without the opcodes of its start and end."""
    return pickle.dumps(value, 2)[2:-1]
