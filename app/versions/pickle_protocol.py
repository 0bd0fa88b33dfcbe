"""State dicts of any pickle protocol, rewritten in protocol 2.

`torch.save(…, pickle_protocol=4)` writes files that `torch.load(…, weights_only=True)` rejects: its
restricted reader knows the instructions of protocol 2 alone. Here the instructions are translated
and not executed, so that PyTorch's reader still decides what a file may do.
"""

import pickle
import pickletools
from io import BytesIO
from struct import pack
from typing import Any, Final, NamedTuple
from zipfile import ZipFile

ZIP: Final = b"PK\x03\x04"
PROTOCOL_2: Final = b"\x80\x02"
PICKLE: Final = "data.pkl"
# A file that is no archive: magic number, version, system, state dict, keys. Then the numbers.
LEGACY_PICKLES: Final = 5
LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
# Protocol 1 has no mark at its start, so that the magic number comes first, as text.
LEGACY_HEAD: Final = b"L%dL\n" % LEGACY_MAGIC

TEXTS: Final = {
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
INTEGERS: Final = {"INT", "LONG", "LONG4"}
PUTS: Final = {"PUT", "BINPUT", "LONG_BINPUT"}
GETS: Final = {"GET", "BINGET", "LONG_BINGET"}
LEFT_OUT: Final = {"PROTO", "FRAME"}
SAME_IN_PROTOCOL_2: Final = {
    *("MARK", "STOP", "LONG1", "BININT", "BININT1", "BININT2", "BINFLOAT", "GLOBAL"),
    *("NONE", "NEWTRUE", "NEWFALSE", "REDUCE", "BUILD", "NEWOBJ", "BINPERSID", "EMPTY_SET"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS"),
}


class Instruction(NamedTuple):
    """The bytes of an instruction of protocol 2, and the text that it pushes, if it does."""

    content: bytes
    text: str | None = None


def to_protocol_2(content: bytes) -> bytes:
    """Return a file that `torch.save` wrote, with its pickles in protocol 2.

    The caller has checked what an archive unpacks to. Raises ValueError or any other exception for
    another file, and for instructions that no state dict needs.
    """
    if content.startswith(ZIP):
        return _rewrite_archive(content)
    if content.startswith(PROTOCOL_2):
        return content
    source = BytesIO(content)
    pickles = [_translate(source) for _ in range(LEGACY_PICKLES)]
    return b"".join([*pickles, source.read()])


def _rewrite_archive(content: bytes) -> bytes:
    with ZipFile(BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    pickles = {name for name in files if name.rpartition("/")[2] == PICKLE}
    if all(files[name].startswith(PROTOCOL_2) for name in pickles):
        return content
    rewritten = BytesIO()
    with ZipFile(rewritten, "w") as archive:
        for name, file in files.items():
            archive.writestr(name, _translate(BytesIO(file)) if name in pickles else file)
    return rewritten.getvalue()


def _translate(source: BytesIO) -> bytes:
    """Return the next pickle of a stream in protocol 2."""
    operations = list(pickletools.genops(source))
    starts = [position or 0 for _, _, position in operations]
    content = source.getvalue()
    translator = _Translator()
    for (opcode, argument, start), end in zip(
        operations, [*starts[1:], source.tell()], strict=True
    ):
        translator.add(opcode.name, argument, content[start:end])
    return b"".join([PROTOCOL_2, *(instruction.content for instruction in translator.translated)])


class _Translator:
    """Translates one pickle, instruction by instruction.

    From protocol 4 on, a global takes its two names from the stack, often by way of the memo. So
    texts are not put into the memo here, but repeated where they were taken from it.
    """

    def __init__(self) -> None:
        self.translated: list[Instruction] = []
        self._texts_by_index: dict[int, str | None] = {}  # the memo; None for what is no text

    def add(self, name: str, argument: Any, content: bytes) -> None:
        """Translate the instruction `name`. Raises ValueError if protocol 2 has none like it."""
        if name in TEXTS:
            self._push_text(argument)
        elif name == "MEMOIZE":
            self._put(len(self._texts_by_index))
        elif name in PUTS:
            self._put(int(argument))
        elif name in GETS:
            self._get(int(argument))
        elif name == "STACK_GLOBAL":
            self._push_global()
        elif name in INTEGERS:
            self._push_integer(argument)
        elif name == "FLOAT":
            self._push(pickle.BINFLOAT + pack(">d", argument))
        elif name in SAME_IN_PROTOCOL_2:
            self._push(content)
        elif name not in LEFT_OUT:
            raise ValueError(f"the pickle has the instruction {name}, which no state dict needs")

    def _push(self, content: bytes, text: str | None = None) -> None:
        self.translated.append(Instruction(content, text))

    def _push_text(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self._push(pickle.BINUNICODE + pack("<I", len(encoded)) + encoded, text)

    def _push_integer(self, value: int) -> None:
        if isinstance(value, bool):  # protocol 1 has no instruction for them
            self._push(pickle.NEWTRUE if value else pickle.NEWFALSE)
            return
        encoded = pickle.encode_long(value)
        self._push(pickle.LONG1 + pack("B", len(encoded)) + encoded)

    def _push_global(self) -> None:
        name, module = self.translated.pop().text, self.translated.pop().text
        if not name or not module or "\n" in name + module:
            raise ValueError("a global of the pickle has no name")
        self._push(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def _put(self, index: int) -> None:
        self._texts_by_index[index] = text = self.translated[-1].text
        if text is None:
            self._push(pickle.LONG_BINPUT + pack("<I", index))

    def _get(self, index: int) -> None:
        text = self._texts_by_index[index]
        if text is None:
            self._push(pickle.LONG_BINGET + pack("<I", index))
        else:
            self._push_text(text)
