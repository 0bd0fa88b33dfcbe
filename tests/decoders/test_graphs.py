"""Segmentation graphs between the processes: the same after the way, and checked before use."""

import numpy as np
import pytest
from pydantic import ValidationError

from app.decoders import graphs, operations
from app.decoders.graphs import InvalidGraph
from app.decoders.replies import MAX_CONTENT_BYTES, REPLY
from app.errors import TooManyDigits
from app.image.segmentation.segment import MAX_CANDIDATES, MAX_CUTS, segment
from tests.image.drawings import Sheet


@pytest.fixture(scope="module")
def lines():
    sheet = Sheet(4, 420, 420)
    for digit, x, y in ((7, 120, 110), (0, 200, 115), (0, 120, 300), (4, 290, 305)):
        sheet.digit(digit, x, y, 110)
    return segment(sheet.grey())


def test_graphs_come_back_as_they_were(lines):
    counts, content = graphs.counts_of(lines), graphs.pack(lines)
    assert len(content) == graphs.content_bytes(counts)
    graphs.check(counts, content)
    for sent, came in zip(lines, graphs.unpack(counts, content), strict=True):
        assert [cut._replace(columns=None) for cut in sent.cuts] == came.cuts
        assert (sent.skippable, sent.candidates) == (came.skippable, came.candidates)
        assert np.array_equal(sent.pixels, came.pixels)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first", 9999),
        ("last", 9999),
        ("box", (5, 5, 5, 9)),
        ("sizes", (np.nan, 1, 0)),
        ("sizes", (1, -1, 0)),
        ("sizes", (1, 1, np.inf)),
    ],
)
def test_invalid_candidate_is_refused(lines, name, value):
    line = lines[:1]
    counts, content = graphs.counts_of(line), bytearray(graphs.pack(line))
    ((cuts, candidates),) = counts
    rows = np.frombuffer(content, graphs.CANDIDATE, candidates, cuts * graphs.CUT.itemsize)
    rows[name][0] = value
    with pytest.raises(InvalidGraph):
        graphs.check(counts, bytes(content))


@pytest.mark.parametrize(("name", "value"), [("crossed", np.nan), ("skippable", 7)])
def test_invalid_cut_is_refused(lines, name, value):
    counts, content = graphs.counts_of(lines), bytearray(graphs.pack(lines))
    rows = np.frombuffer(content, graphs.CUT, counts[0][0])
    column = rows[name].view(np.uint8) if name == "skippable" else rows[name]
    column[0] = value
    with pytest.raises(InvalidGraph):
        graphs.check(counts, bytes(content))


def head(counts):
    return {"kind": "segments", "last": False, "scale": 1.0, "counts": counts}


@pytest.mark.parametrize(
    "counts",
    [[], [(1, 0)], [(1, MAX_CANDIDATES + 1)], [(1, MAX_CANDIDATES)] * 2, [(MAX_CUTS, 1)] * 2],
)
def test_counts_are_bounded(counts):
    with pytest.raises(ValidationError):
        REPLY.validate_python(head(counts))


def test_largest_reply_fits():
    reply = REPLY.validate_python(head([(MAX_CUTS, MAX_CANDIDATES)]))
    assert reply.content_bytes == MAX_CONTENT_BYTES


def test_too_many_digits_are_a_refusal_that_the_server_accepts():
    head, content = operations.refusal(TooManyDigits("The image has more than 500 pieces."))
    reply = REPLY.validate_python({**head, "last": False})
    assert (reply.code, reply.content_bytes) == (TooManyDigits.code, len(content))
