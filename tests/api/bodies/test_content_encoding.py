"""Bodies with a Content-Encoding: decoded within bounds, or refused in words."""

import asyncio
import gzip
import json
import random
import zlib
from functools import partial

import brotli
import pytest
from starlette.testclient import TestClient

from app.api.body_limits import BodyLimits
from app.api.content_encoding import MAX_MEMBERS, PIECE_BYTES, ContentDecoding
from app.errors import BodyTooLarge, ContentEncodingNotSupported, MalformedRequest
from app.main import create_app
from tests.api.routes.test_predict_fast_path import FORM, comparable, form, post_both_ways
from tests.conftest import settings_in
from tests.served import serve_app

LIMIT = 1_000_000


def bare_deflate(content):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def in_members(content):
    middle = len(content) // 2
    return gzip.compress(content[:middle]) + gzip.compress(content[middle:]) + bytes(100)


ENCODERS = {
    "gzip": ("gzip", gzip.compress),
    "gzip in members": ("gzip", in_members),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip and identity": ("identity, gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "br": ("br", partial(brotli.compress, quality=2)),
    "identity": ("identity", bytes),
    "a charset": ("UTF-8", bytes),
    "none": ("", bytes),
}
COMPRESSED = {name: pair for name, pair in ENCODERS.items() if pair[1] is not bytes}


def read(coding, chunks, limit=LIMIT):
    """Return the body that an app gets behind the middleware, and the turns that others had."""
    turns, largest_chunk, body = 0, 0, b""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages += [{"type": "http.request", "body": b"", "more_body": False}, {"type": "gone"}]

    async def receive():
        return messages.pop(0)

    async def app(_scope, receive, _send):
        nonlocal body, largest_chunk
        while (message := await receive())["type"] == "http.request":
            largest_chunk = max(largest_chunk, len(message["body"]))
            body += message["body"]
            is_last = not message["more_body"]
        assert is_last and message["type"] == "gone"

    async def take_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main():
        other = asyncio.create_task(take_turns())
        headers = [(b"content-encoding", coding.encode())]
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
        await ContentDecoding(app, BodyLimits(limit))(scope, receive, None)
        other.cancel()

    asyncio.run(main())
    assert largest_chunk <= max(2 * PIECE_BYTES, *map(len, chunks), 0)
    return body, turns


def cut(content, size):
    return [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize(("coding", "encode"), ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("chunk", [1, 1000, 10**9])
def test_body_in_pieces_of_any_size_is_decoded(coding, encode, chunk):
    rng = random.Random(f"{coding} {chunk}")
    sizes = (0, 1, 3000) if chunk == 1 else (0, 5, PIECE_BYTES, 700_000)
    for size in sizes:
        for content in (
            bytes(size),
            rng.randbytes(size),
            bytes(size // 2) + rng.randbytes(size // 2),
        ):
            assert read(coding, cut(encode(content), chunk))[0] == content


@pytest.mark.parametrize(("coding", "encode"), COMPRESSED.values(), ids=COMPRESSED)
def test_empty_body_with_a_coding_is_empty(coding, encode):
    assert read(coding, [])[0] == read(coding, [encode(b"")])[0] == b""


@pytest.mark.parametrize(("coding", "encode"), COMPRESSED.values(), ids=COMPRESSED)
def test_bomb_is_refused_before_it_is_decoded(coding, encode):
    bomb = encode(bytes(30 * LIMIT))
    with pytest.raises(BodyTooLarge, match=r"1000000 bytes, which holds before and after"):
        read(coding, [bomb])
    assert read(coding, [encode(bytes(LIMIT))])[0] == bytes(LIMIT)


@pytest.mark.parametrize("head", [gzip.compress(b"", mtime=0)[:10], b"\x78\x9c", b""])
def test_encoded_body_is_bounded_even_if_nothing_comes_of_it(head):
    empty_blocks = b"\0\0\0\xff\xff" * LIMIT  # of deflate
    with pytest.raises(BodyTooLarge):
        read("gzip" if len(head) > 2 else "deflate", cut(head + empty_blocks, 10_000))


def test_other_requests_have_their_turn_while_a_body_is_decoded():
    for coding, encode in COMPRESSED.values():
        assert read(coding, [encode(bytes(LIMIT))])[1] > 0.5 * LIMIT / PIECE_BYTES


@pytest.mark.parametrize(("coding", "encode"), COMPRESSED.values(), ids=COMPRESSED)
def test_damaged_body_is_refused_in_words(coding, encode):
    rng = random.Random(coding)
    content = encode(rng.randbytes(5000))
    truncated = [content[:end] for end in rng.sample(range(1, 2000), 10)]
    for body in (*truncated, b"{}", rng.randbytes(5000), b"\xff" * 50):
        with pytest.raises(MalformedRequest, match=r"not valid \w+, its Content-Encoding"):
            read(coding, [body])


@pytest.mark.parametrize("name", ["deflate", "bare deflate", "br"])
def test_bytes_after_the_end_are_refused(name):
    coding, encode = COMPRESSED[name]
    for chunks in ([encode(b"abc") + b"x"], [encode(b"abc"), b"x"]):
        with pytest.raises(MalformedRequest):
            read(coding, chunks)


def test_gzip_of_too_many_members_is_refused():
    stream = gzip.compress(b"a")
    assert read("gzip", [stream * MAX_MEMBERS])[0] == b"a" * MAX_MEMBERS
    with pytest.raises(MalformedRequest, match=f"more than {MAX_MEMBERS} members"):
        read("gzip", [stream * (MAX_MEMBERS + 1)])


@pytest.mark.parametrize(
    "coding", ["zstd", "compress", "base64", "gzip, gzip", "deflate, br", "nonsense", "x" * 5000]
)
def test_coding_that_is_not_supported_is_refused(coding):
    with pytest.raises(ContentEncodingNotSupported) as refusal:
        read(coding, [b"x"])
    assert "gzip, deflate, br" in refusal.value.detail and len(refusal.value.detail) < 250


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serve_app(create_app(settings_in(tmp_path_factory.mktemp("encoded")))) as client:
        yield client


@pytest.mark.parametrize(("coding", "encode"), ENCODERS.values(), ids=ENCODERS)
def test_every_route_with_a_body_decodes_it(service, seven, coding, encode):
    def post(path, content, **headers):
        headers = {"content-encoding": coding, **headers}
        return service.post(path, content=encode(content), headers=headers)

    kind = FORM["content-type"]
    batch = form(seven).replace(b'"file"', b'"files"')
    instances = json.dumps({"instances": [[0, 255] * 392]}).encode()
    assert post("/predict", seven).json()["digit"] == 7
    assert post("/predict", form(seven), **{"content-type": kind}).json()["digit"] == 7
    assert post("/invocations", seven).json()["digit"] == 7
    answers = post("/predict/batch", batch, **{"content-type": kind}).json()["predictions"]
    assert [answer["digit"] for answer in answers] == [7]
    assert len(post("/v1/models/mynet:predict", instances).json()["predictions"]) == 1
    for path in ("/train", "/sweeps"):
        refusal = post(path, b'{"epochs": 0}').json()
        assert refusal["errors"][0]["field"] == "epochs"
    assert (
        "/feedback" and post("/feedback", form(b"x"), **{"content-type": kind}).status_code == 422
    )
    answer = post("/models", form(b"x").replace(b'"file"', b'"weights"'), **{"content-type": kind})
    assert "the fields sent are: weights" in answer.json()["detail"]


def test_refusal_of_a_coding_names_those_that_are_accepted(service, seven):
    for path in ("/predict", "/train", "/sweeps", "/models", "/feedback", "/predict/batch"):
        headers = {"content-encoding": "zstd", **FORM}
        answer = service.post(path, content=form(seven), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (
            415,
            "content_encoding_not_supported",
        )
        assert answer.headers["accept-encoding"] == "gzip, deflate, br"
    answer = service.post(
        "/v1/models/mynet:predict", content=b"x", headers={"content-encoding": "x"}
    )
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate, br")


def test_both_ways_to_predict_decode_alike(service, seven):
    for content, coding in ((gzip.compress(seven), "gzip"), (seven, "gzip"), (seven, "zstd")):
        one, other = post_both_ways(service, content=content, headers={"content-encoding": coding})
        assert comparable(one) == comparable(other)


def test_key_is_checked_before_the_coding(tmp_path):
    settings = settings_in(tmp_path).model_copy(update={"auth": "keys"})
    with TestClient(create_app(settings)) as client:
        for coding in ("gzip", "zstd"):
            answer = client.post("/predict", content=b"x", headers={"content-encoding": coding})
            assert answer.status_code == 401
