"""Forms: the whole parser, and the short way for those that are one file."""

import pytest
from python_multipart.multipart import parse_options_header

from app.api.multipart import MAX_PARAMETERS, MAX_PARTS, Part, parse_single_file, read_form
from app.errors import MalformedRequest

KIND = b"multipart/form-data; boundary=xyz"
HEAD = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png'
OTHER = b'Content-Disposition: form-data; name="other"'


def form(*parts, boundary=b"xyz"):
    opened = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, *part) for part in parts)
    return opened + b"--%b--\r\n" % boundary


@pytest.mark.parametrize("content", [b"", b"a", b"\r\n--xy\r\n\r\n--", b"\r\n\r\n", bytes(300)])
def test_one_file_is_read_both_ways(content):
    body = form((HEAD, content))
    assert parse_single_file(body, KIND, "file") == content
    assert read_form(body, KIND) == [Part("file", content)]


@pytest.mark.parametrize(
    "head",
    [
        b'content-disposition: form-data; filename="a;b\\"c.png"; name="file"',
        b"Content-Type: image/png\r\nContent-Disposition: form-data; name=file; filename=a",
        b'Content-Disposition: form-data; name="file"; filename="caf\xc3\xa9.png"',
        b'Content-Disposition: form-data; name="file"',
        b'Content-Disposition: form-data; name="file"\r\nContent-Type: image/png',
        b"Content-Disposition: form-data; name=file\r\nContent-Length: 3",
        b'Content-Disposition: form-data; name="file"; filename=""',
        b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''caf%C3%A9.png",
    ],
)
def test_headers_as_various_clients_write_them(head):
    body = form((head, b"abc"))
    assert parse_single_file(body, KIND, "file") == b"abc"
    assert read_form(body, KIND) == [Part("file", b"abc")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--xyz--\r\n",
        b"preamble\r\n" + form((HEAD, b"a")),
        form((HEAD, b"a")) + b"epilogue",
        form((HEAD, b"a"), (HEAD, b"b")),
        form((b'Content-Disposition: form-data; name="other"; filename="a"', b"a")),
        form((b"Content-Disposition:form-data;name=file;filename=a", b"a")),
        form((HEAD + b"\r\n" + HEAD, b"a")),
        # Two headers: the parser takes the last, and another parser may take the first.
        form((b"%b\r\n%b" % (HEAD.partition(b"\r\n")[0], OTHER), b"a")),
        form((HEAD, b"a"))[:-6],
        form((b"A b: c\r\n" + HEAD, b"a")),
        form((HEAD + b"\r\nX: a\rb", b"a")),
        form((HEAD + b"\r\nX: " + b"y" * 2000, b"a")),
        form((HEAD, b"a")).replace(b"--xyz\r\n", b"--xyz \r\n"),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_parser(body):
    assert parse_single_file(body, KIND, "file") is None


def test_read_form_keeps_the_order_of_parts():
    body = form((HEAD, b"1"), (b'Content-Disposition: form-data; name="label"', b"7"), (HEAD, b""))
    parts = [Part("file", b"1"), Part("label", b"7"), Part("file", b"")]
    assert read_form(body + b"epilogue", KIND) == parts


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (form((HEAD, b"a")), b"multipart/form-data", "no boundary parameter"),
        (form((HEAD, b"a"), boundary=b"other"), KIND, "could not be parsed"),
        (form((HEAD, b"a"))[:-6], KIND, "was truncated"),
        (b"", KIND, "was truncated"),
        (form((b"Content-Type: image/png", b"a")), KIND, "has no name"),
        (form((b'Content-Disposition: form-data; filename="a"', b"a")), KIND, "has no name"),
        (form((b"X: " + b"y" * 10_000, b"a")), KIND, "could not be parsed"),
        (form(*[(HEAD, b"")] * (MAX_PARTS + 1)), KIND, f"more than {MAX_PARTS} parts"),
        # Each takes the parser as long as a part.
        (form((HEAD, b"\r\n--xyz+" * (MAX_PARTS + 1))), KIND, f"more than {MAX_PARTS} parts"),
        (form((HEAD, b"a")), b"multipart/form-data; boundary=" + b"x" * 500, "could not be parsed"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(body, kind, message):
    with pytest.raises(MalformedRequest, match=message):
        read_form(body, kind)


@pytest.mark.parametrize("more", [b";", b";a=b", b';a=";"', b';a="'])
def test_headers_of_many_parameters_are_refused_before_they_are_parsed(monkeypatch, more):
    parsed = []

    def parse(header):
        parsed.append(header.count(b";"))
        return parse_options_header(header)

    monkeypatch.setattr("app.api.multipart.parse_options_header", parse)
    disposition = HEAD.partition(b"\r\n")[0]
    few, many = (more * number for number in (4, MAX_PARAMETERS))
    assert read_form(form((disposition + few, b"a")), KIND + few) == [Part("file", b"a")]
    for body, kind in (
        (form((disposition + many, b"a")), KIND),
        (form((HEAD, b"a")), KIND + many),
    ):
        for read in (read_form, lambda *form: parse_single_file(*form, "file")):
            with pytest.raises(MalformedRequest, match="more than 16 parameters"):
                read(body, kind)
    assert parsed and max(parsed) <= MAX_PARAMETERS
