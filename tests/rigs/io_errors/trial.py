"""One operation in which one I/O call fails, and what must hold after that."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.api.problem_details import STORAGE_ERRNOS
from app.atomic_files import TEMPORARY
from app.errors import ServiceError
from app.startup import StartupError
from app.train.supervisor.worker_process import WRITE_FAILED_MESSAGE
from tests.rigs.io_errors.plan import Failed, Fault, Plan

# What the C library, SQLite and the product call ENOSPC, EIO, and a file that cannot be opened. The
# last one is of a job whose process could tell it to the log alone.
CAUSES: Final = (
    "No space left on device",
    "Input/output error",
    "disk I/O error",
    "is full",
    "unable to open database",
    "could not be opened for writing",
    WRITE_FAILED_MESSAGE,
)
WORDED: Final = (ServiceError, StartupError)


NO_CALL: Final = Failed("", "")


class Refusal(Exception):
    """An answer that is no success, or what stands in its place where there is no request."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail = status, code, detail


@dataclass
class Operation:
    """`act` changes what `count` counts by `change`; `prepare` runs before each try.

    `leftovers` lists files that belong to nothing.
    """

    act: Callable[[], object]
    count: Callable[[], int]
    prepare: Callable[[], object] = lambda: None
    change: int = 1
    leftovers: Callable[[], list[str]] = list


@dataclass
class Trial:
    """A try of an operation in which one call fails. `failed` is that call, once there was it."""

    name: str
    operation: Operation
    fault: Fault
    failed: Failed = NO_CALL

    def run(self, plan: Plan) -> Iterator[str]:
        """Make the call fail, and yield the promises that were broken."""
        operation, error = self.operation, None
        operation.prepare()
        before = operation.count()
        plan.arm(self.fault)
        try:
            operation.act()
        except Exception as caught:
            error = caught
        _, self.failed = plan.disarm()
        for problem in self._problems(before, error):
            yield f"{self.name}: {self.fault} ({self.failed.call} {self.failed.path}): {problem}"

    def _problems(self, before: int, error: Exception | None) -> Iterator[str]:
        operation = self.operation
        after, goal = operation.count(), before + operation.change
        if error and not names_cause(error):
            yield f"the error names no cause: {error!r}"
        if after not in (before, goal):
            yield f"neither the old state nor the new: {before} -> {after}"
        if error is None and after == before:
            yield "a success that did not happen"
        if leftovers := operation.leftovers():
            yield f"leaves {leftovers}"
        if after != before:
            return
        try:
            operation.act()
        except Exception as again:
            yield f"the next try raises {again!r}"
        if (after := operation.count()) != goal:
            yield f"the next try leads to another state: {goal} -> {after}"


def temporary_files(folder: Path) -> list[Path]:
    """Return the temporary files of writers. No writer is active."""
    return [path for path in folder.rglob("*") if path.suffix == TEMPORARY or "tmp" in path.name]


def names_cause(error: Exception) -> bool:
    """Return whether an error says in words that the disk is the cause, and not the client."""
    if isinstance(error, OSError):
        return error.errno in STORAGE_ERRNOS
    if isinstance(error, Refusal) and (error.status not in (409, 503) or not error.code):
        return False
    return isinstance(error, (Refusal, *WORDED)) and tells_cause(str(error))


def tells_cause(text: str) -> bool:
    return any(cause in text for cause in CAUSES)
