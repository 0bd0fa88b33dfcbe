"""`/`, `/docs`, and the files that they are made of, with no other origin involved.

What enters: a file's name. What leaves: the file, compressed where the browser takes that, with
what a browser must be told. This module does not know what the pages show.

The files' address holds a digest of them all: what has an address never changes, and may be kept.
"""

import gzip
import hashlib
import re
from functools import lru_cache
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Header, Response

from app.errors import NotFound

WEB: Final = Path(__file__).parents[2] / "web"
FILES: Final = {path.relative_to(WEB).as_posix(): path for path in WEB.rglob("*") if path.is_file()}
PAGES: Final = {"/": "page/index.html", "/docs": "docs.html"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
}
CACHE_REVALIDATE: Final = "no-cache"
CACHE_IMMUTABLE: Final = "public, max-age=31536000, immutable"
# Named, and not with a weight of zero, which refuses it (RFC 9110, 12.5.3).
GZIP: Final = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)
COMPRESSIBLE_SUFFIXES: Final = (".css", ".html", ".js", ".svg")

router = APIRouter(include_in_schema=False)
Encodings = Annotated[str, Header(alias="accept-encoding")]


class File(NamedTuple):
    """A file's bytes, as they are and compressed, and what they are."""

    plain: bytes
    compressed: bytes | None
    media_type: str


@lru_cache(1)
def digest() -> str:
    """Name the present state of all files."""
    hasher = hashlib.sha256()
    for name, path in sorted(FILES.items()):
        hasher.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return hasher.hexdigest()[:16]


@lru_cache(len(FILES))
def read(name: str) -> File:
    """Return a file; pages with the addresses of what they are made of."""
    content = FILES[name].read_bytes()
    if name.endswith(".html"):
        content = content.replace(b'"/web/', f'"/web/{digest()}/'.encode())
    compressed = gzip.compress(content, mtime=0) if name.endswith(COMPRESSIBLE_SUFFIXES) else None
    return File(content, compressed, guess_type(name)[0] or "text/plain")


# These are plain functions, so that a thread compresses what is asked for first.
@router.get("/")
def front(accept_encoding: Encodings = "") -> Response:
    return _answer(PAGES["/"], accept_encoding, CACHE_REVALIDATE)


@router.get("/docs")
def docs(accept_encoding: Encodings = "") -> Response:
    return _answer(PAGES["/docs"], accept_encoding, CACHE_REVALIDATE)


@router.get("/web/{state}/{name:path}")
def asset(state: str, name: str, accept_encoding: Encodings = "") -> Response:
    if state != digest() or name not in FILES:
        raise NotFound("There is no such file; GET / names those that there are.")
    return _answer(name, accept_encoding, CACHE_IMMUTABLE)


def _answer(name: str, encodings: str, cache_control: str) -> Response:
    file, headers = (
        read(name),
        {**SECURITY_HEADERS, "Cache-Control": cache_control, "Vary": "Accept-Encoding"},
    )
    if file.compressed is None or not GZIP.search(encodings):
        return Response(file.plain, 200, headers, file.media_type)
    return Response(file.compressed, 200, {**headers, "Content-Encoding": "gzip"}, file.media_type)
