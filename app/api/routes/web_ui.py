"""The web page `/`, the API documentation `/docs`, and their static files.

No other origin is involved. Files are compressed if the browser accepts that. Their path contains a
digest of all files, so a file never changes under its path and browsers can cache it for ever. All
paths in the files are relative, so that the pages work under any path prefix.
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
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
}
CACHE_REVALIDATE: Final = "no-cache"
CACHE_IMMUTABLE: Final = "public, max-age=31536000, immutable"
# gzip must be named, and not with weight zero, which rejects it (RFC 9110, 12.5.3).
GZIP: Final = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)
COMPRESSIBLE_SUFFIXES: Final = (".css", ".html", ".js", ".svg")

router = APIRouter(include_in_schema=False)
Encodings = Annotated[str, Header(alias="accept-encoding")]


class File(NamedTuple):
    """A file: its bytes, its compressed bytes if that helps, and its media type."""

    plain: bytes
    compressed: bytes | None
    media_type: str


@lru_cache(1)
def digest() -> str:
    """Return a digest of the contents of all files."""
    hasher = hashlib.sha256()
    for name, path in sorted(FILES.items()):
        hasher.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return hasher.hexdigest()[:16]


@lru_cache(len(FILES))
def read(name: str) -> File:
    """Return a file; in a page, the paths of its static files include the digest."""
    content = FILES[name].read_bytes()
    if name.endswith(".html"):
        content = content.replace(b'"web/', f'"web/{digest()}/'.encode())
    compressed = gzip.compress(content, mtime=0) if name.endswith(COMPRESSIBLE_SUFFIXES) else None
    return File(content, compressed, guess_type(name)[0] or "text/plain")


# These are not coroutines, so that a thread compresses a file on its first request.
@router.get("/")
def front(accept_encoding: Encodings = "") -> Response:
    return _answer(PAGES["/"], accept_encoding, CACHE_REVALIDATE)


@router.get("/docs")
def docs(accept_encoding: Encodings = "") -> Response:
    return _answer(PAGES["/docs"], accept_encoding, CACHE_REVALIDATE)


@router.get("/web/{state}/{name:path}")
def asset(state: str, name: str, accept_encoding: Encodings = "") -> Response:
    if state != digest() or name not in FILES:
        raise NotFound(f"The file {name!r:.100} does not exist. GET / refers to the current files.")
    return _answer(name, accept_encoding, CACHE_IMMUTABLE)


def _answer(name: str, encodings: str, cache_control: str) -> Response:
    file, headers = (
        read(name),
        {**SECURITY_HEADERS, "Cache-Control": cache_control, "Vary": "Accept-Encoding"},
    )
    if file.compressed is None or not GZIP.search(encodings):
        return Response(file.plain, 200, headers, file.media_type)
    return Response(file.compressed, 200, {**headers, "Content-Encoding": "gzip"}, file.media_type)
