"""Runs of pytest in forks of this process, which has imported the libraries.

To import them takes longer than most of the tests.
"""

import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple, NoReturn

import pytest

LIBRARIES: Final = (
    *("torch", "cv2", "PIL.Image", "pillow_heif", "safetensors.torch", "numpy", "onnx"),
    *("fastapi", "starlette.testclient", "pydantic_settings", "typer", "uvicorn", "httptools"),
    *("sqlalchemy.orm", "alembic.command", "psycopg", "python_multipart", "threadpoolctl"),
)
# A library that is also a plugin of pytest.
IGNORED: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


class Done(NamedTuple):
    """The end of a process; a signal has a negative exit code."""

    exit_code: int
    output: str


class Run:
    """A process that runs in a copy of the tree, and imports the code of that copy."""

    def __init__(self, tree: Path, command: Sequence[str], python: str = sys.executable) -> None:
        self._output: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _enter(tree, self._output)
            _execute(command, python)

    def end(self, status: int) -> Done:
        """Return what the process left; `status` is that of `os.wait`."""
        with self._output as output:
            output.seek(0)
            return Done(os.waitstatus_to_exitcode(status), output.read())


def import_libraries() -> None:
    """Import what most tests need. No thread may have started then."""
    for library in LIBRARIES:
        importlib.import_module(library)


def _enter(tree: Path, output: IO[str]) -> None:
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # a test may have replaced them
    os.chdir(tree)
    code = [str(tree), str(tree / "client/src")]
    os.environ["PYTHONPATH"] = os.pathsep.join(code)
    own_paths = {str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "client/src"), ""}
    sys.path[:] = code + [path for path in sys.path if path not in own_paths]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("app", "tests")]:
        del sys.modules[name]


def _execute(command: Sequence[str], python: str) -> NoReturn:
    """Run pytest with these arguments in this process, or a command that begins with `-m`."""
    code = 1
    try:
        if command[0] == "-m":
            os.execv(python, [python, *command])
        if python != sys.executable:
            os.execv(python, [python, "-m", "pytest", *command])
        code = int(pytest.main([*IGNORED, *command]))
    except BaseException:  # the runner must not go on in this process
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
