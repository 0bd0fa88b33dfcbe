"""What is logged where processes that read uploads have no filter of system calls."""

import asyncio
import logging
import os
import sys
import tempfile

import pytest

from app.dataset_import.formats.items import Limits
from app.dataset_import.process import read_items
from app.predict.preprocess import PreprocessedImage
from app.sandbox.system_calls import make_filter, warn_of_no_filter
from tests.datasets.uploads import csv
from tests.decoders.pool import decode_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp")

REPLACEMENTS = {
    "a package is missing": "raise ImportError('no libseccomp')",
    "the kernel refuses": (
        "ALLOW = MASKED_EQ = 0\n"
        "ERRNO = Arg = lambda *_: 0\n"
        "class SyscallFilter:\n"
        "    def __init__(self, action): pass\n"
        "    def add_rule(self, *rule): pass\n"
        "    def load(self): raise OSError(22, 'Invalid argument')\n"
    ),
}
WARNINGS = {
    "a package is missing": "(error 65). Install libseccomp (Debian: libseccomp2) and",
    "the kernel refuses": "Invalid argument (error 22). Use a kernel with CONFIG_SECCOMP_FILTER",
}


@pytest.fixture(params=REPLACEMENTS)
def warning(request, tmp_path, monkeypatch):
    """What the log says where the processes that read uploads have no filter."""
    (tmp_path / "pyseccomp.py").write_text(REPLACEMENTS[request.param])
    paths = (str(tmp_path), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    warn_of_no_filter.cache_clear()
    yield WARNINGS[request.param]
    warn_of_no_filter.cache_clear()


def logged(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.usefixtures("started_templates")
def test_decoders_without_the_filter_read_images_and_the_log_says_so(
    settings, warning, seven, caplog
):
    for _ in range(2):  # services
        (outcome,), restarts = decode_all(settings, [seven])
        assert isinstance(outcome, PreprocessedImage) and not sum(restarts.values())
    (message,) = logged(caplog)
    assert message.startswith("image decoders run without a filter of system calls")
    assert warning in message


def test_an_import_without_the_filter_reads_images_and_the_log_says_so(mnist, warning, caplog):
    upload = csv(mnist.test.pixels[:2].numpy(), mnist.test.labels[:2].numpy())

    async def read():
        with tempfile.TemporaryFile() as file:
            file.write(upload)
            file.flush()
            limits = Limits(max_images=40, max_unpacked_bytes=2**20, max_file_bytes=2**16)
            return [item async for item in read_items(file, limits)]

    assert [len(items) for items in (asyncio.run(read()), asyncio.run(read()))] == [1, 1]
    (message,) = logged(caplog)
    assert message.startswith("processes that import data sets run without a filter")
    assert warning in message


def test_a_filter_that_works_is_no_news(settings, seven, caplog):
    decode_all(settings, [seven])
    assert logged(caplog) == []


def test_other_systems_have_no_filter_and_need_no_warning(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert make_filter() is None
