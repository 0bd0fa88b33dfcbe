"""Weights that lie, swell or break their reader: refused in words, by a process that is bounded."""

import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import safetensors.torch
import torch

from app.atomic_files import TEMPORARY
from app.torch_net import MyNet
from app.versions import weights_file
from app.versions.checkpoint import BadCheckpoint, IncompatibleWeights
from app.weights_import import parent
from tests.weights_import import stub

SHAPES = {name: tuple(tensor.shape) for name, tensor in MyNet().state_dict().items()}
KEY = b"}%bK\x01s."  # a dict with that key
# What torch.save wrote before it wrote archives: a magic number, a version, the machine.
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
LEGACY = MAGIC + b"\x80\x02}X\r\0\0\0little_endian\x88s."


def archive(pickled, compression=zipfile.ZIP_STORED, **members):
    """What torch.save would write for these opcodes."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in {
            "data.pkl": b"\x80\x02" + pickled,
            "version": b"3\n",
            **members,
        }.items():
            file.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def several(*items):
    return b"(" + b"".join(items) + b"t"


def tensor(stored, size, stride, offset=0, more=b"", key="0"):
    """A tensor that claims to be a view of `stored` numbers."""
    storage = several(
        text("storage"), b"ctorch\nFloatStorage\n", text(key), text("cpu"), number(stored), more
    )
    view = several(*map(number, size)), several(*map(number, stride))
    hooks = b"ccollections\nOrderedDict\n)R"
    parts = several(storage + b"Q", number(offset), *view, b"\x89", hooks)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + parts + b"R"


def state(shaped):
    """MyNet's names, each with the tensor that `shaped` makes of its shape."""
    return b"}(" + b"".join(text(name) + shaped(shape) for name, shape in SHAPES.items()) + b"u."


def lying(header, content=b"", length=None):
    """A safetensors file whose header says so."""
    head = header.encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + content


def doubled(times):
    """A tuple of a tuple twice, of a tuple twice, …: small here, 2**times to who looks at it.

    The innermost is a number, so that two of them are equal without being the same object.
    """
    pairs = (b"q%bh%b\x86" % (bytes([n]), bytes([n])) for n in range(times))
    return b"G" + struct.pack(">d", 0.5) + b"".join(pairs)


def empty(dimensions):
    sizes = ",".join(["0"] * dimensions)
    return lying(f'{{"fc1.bias":{{"dtype":"F32","shape":[{sizes}],"data_offsets":[0,0]}}}}')


FLAT = {"data/0": bytes(400)}
BAD = {
    "zip_bomb": archive(b"}.", zipfile.ZIP_DEFLATED, **{"data/0": bytes(100 * 2**20)}),
    "storage_larger_than_its_file": archive(
        state(lambda shape: tensor(2**40, shape, [1] * len(shape))), **FLAT
    ),
    "view_beyond_its_storage": archive(
        state(lambda shape: tensor(100, shape, [10**6] * len(shape))), **FLAT
    ),
    "view_before_its_storage": archive(
        state(lambda shape: tensor(100, shape, [0] * len(shape), -(2**40))), **FLAT
    ),
    "negative_strides": archive(state(lambda shape: tensor(100, shape, [-1] * len(shape))), **FLAT),
    "one_number_seen_as_an_exabyte": archive(
        state(lambda _: tensor(100, [2**40, 2**20], [0, 0])), **FLAT
    ),
    "storage_with_a_path": archive(
        tensor(100, [10], [1], key="../../../../etc/passwd") + b".", **FLAT
    ),
    "legacy_with_a_giant_storage": LEGACY
    + b"\x80\x02"
    + tensor(2**45, [10], [1], more=b"N")
    + b".\x80\x02]X\x01\0\0\x000a."
    + struct.pack("<q", 2**45),
    "names_that_are_numbers": archive(b"}(K\x01K\x01X\x01\0\0\0aK\x01u."),
    "names_in_names": archive(KEY % doubled(20)),
    "deep_lists": archive(b"]" * 10**5 + b"a" * (10**5 - 1) + b"."),
    "bytes_without_end": archive(b"cbuiltins\nbytearray\n" + several(number(2**45)) + b"R."),
    "a_call_of_the_system": archive(b"cposix\nsystem\nX\x04\0\0\0true\x85R."),
    "safetensors_longer_than_the_file": lying("{}", length=2**63),
    "safetensors_of_gigabytes": lying("{}", length=10**8),
    "safetensors_of_deep_lists": lying('{"a":' + "[" * 10**5 + "]" * 10**5 + "}"),
    "safetensors_that_overlap": lying(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        '"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "safetensors_whose_shape_overflows": lying(
        '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'
    ),
    "safetensors_of_many_dimensions": empty(10**5),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_file_that_lies_is_refused(tmp_path, content):
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint) as error:
        weights_file.read(path)
    assert len(error.value.problem) < 1000


def test_what_is_written_here_can_be_read_where_it_does_not_lie(tmp_path):
    """Else all of the above might be refused for a slip of the pen."""
    path = tmp_path / "upload"
    path.write_bytes(archive(state(lambda shape: tensor(100, shape, [0] * len(shape))), **FLAT))
    weights = weights_file.read(path).weights
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == SHAPES
    old = b"\x80\x02" + tensor(100, [10], [1], more=b"N") + b".\x80\x02]X\x01\0\0\x000a."
    path.write_bytes(LEGACY + old + struct.pack("<q", 100) + bytes(400))
    with pytest.raises(IncompatibleWeights, match="contains a Tensor"):
        weights_file.read(path)


def test_tensors_without_values_of_their_own_are_refused(tmp_path):
    sparse = {name: torch.zeros(shape).to_sparse() for name, shape in SHAPES.items()}
    torch.save(sparse, tmp_path / "upload")
    with pytest.raises(BadCheckpoint):
        weights_file.read(tmp_path / "upload")


@pytest.fixture
def short_time_limit(monkeypatch):
    """Limit the import process to a second, so that the test need not wait for a minute."""
    code = (
        "from app.weights_import import rlimits, worker; rlimits.MAX_CPU_SECONDS = 1; worker.main()"
    )
    monkeypatch.setattr(parent, "COMMAND", (sys.executable, "-c", code))


TOO_MUCH = {
    # Up to Python 3.13 the hash takes the time, from 3.14 on the comparison with an equal key.
    "time": archive(b"}%bK\x01s%bK\x01s." % (doubled(60), doubled(60))),
    "stack": archive(KEY % (b")" + b"\x85" * 10**6)),
    "memory": LEGACY
    + b"\x80\x02"
    + tensor(2**29, [10], [1], more=b"N")
    + b".\x80\x02]X\x01\0\0\x000a."
    + struct.pack("<q", 2**29),
}


@pytest.mark.parametrize("content", TOO_MUCH.values(), ids=TOO_MUCH)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce all limits")
def test_a_file_that_takes_too_much_is_refused_in_words(client, short_time_limit, content):  # noqa: ARG001
    for _ in range(3):
        answer = client.post("/models", content=content)
        # On a machine out of memory the system kills this process first. The answer says so and
        # asks to try again, and a client does.
        if "exit code -9" not in answer.text:
            break
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request"), answer.text
    assert answer.json()["detail"].startswith("The file")
    assert client.get("/models").json()["current"] == 1


LIMITED = """
from app.weights_import.rlimits import MAX_MEMORY_BYTES, apply_rlimits
apply_rlimits()
bytearray(MAX_MEMORY_BYTES // 2)
try:
    bytearray(MAX_MEMORY_BYTES + 2**26)  # more than what was free in the heap before
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce all limits")
def test_process_that_reads_weights_gets_no_memory_over_its_limit():
    command = [sys.executable, "-c", LIMITED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.parametrize("name", ["../../../etc/passwd", "a\0.pt", "C:\\x.pt", "%00", "x" * 2000])
def test_where_a_file_is_kept_is_not_the_senders_choice(client, settings, monkeypatch, name):
    code = "print(json.dumps({'code': 'invalid_field', 'detail': request['path']}))"
    monkeypatch.setattr(parent, "COMMAND", stub.command_for(code))
    content = safetensors.torch.save({"x": torch.zeros(1)})
    answer = client.post("/models", files={"file": (name, content)})
    assert answer.status_code == 422
    upload_path = Path(answer.json()["detail"])
    assert (upload_path.parent, upload_path.suffix) == (settings.uploads_dir, TEMPORARY)
