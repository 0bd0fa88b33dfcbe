"""One step of what is live, as text that every service reads.

What enters: the numbers of versions, or what another service wrote. What leaves: the other of the
two. This module does not know where steps are kept, nor who makes the next.

What is and was live stands there newest first, one number a line; which versions went is told by
negative ones. The last line is chance, so that no two steps are the same by accident.
"""

import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """What was live, newest first, from one step on, and which versions went with it."""

    number: int = 0
    history: Sequence[int] = ()
    gone: Sequence[int] = ()

    @classmethod
    def read(cls, number: int, content: bytes) -> "Step":
        lines = content.decode("ascii", "replace").splitlines()
        numbers = [int(line) for line in lines if re.fullmatch(r"-?[1-9]\d{0,9}", line)]
        gone = [-number for number in numbers if number < 0]
        return cls(number, [number for number in numbers if number > 0], gone)

    def packed(self) -> bytes:
        going = (-version for version in self.gone)
        lines = [*self.history, *going, f"# {secrets.token_hex(8)}"]
        return "".join(f"{line}\n" for line in lines).encode()
