"""File types by their first bytes (magic numbers), to name an upload that is no readable image.

The signatures are those of each format's specification, as `file(1)` knows them.
"""

import re
from codecs import getincrementaldecoder
from typing import Final, NamedTuple

HEAD_BYTES: Final = 512
MAX_QUOTED: Final = 40
UNREADABLE: Final = "The upload is not a readable image"


class FileType(NamedTuple):
    """What an upload is, as a clause such as `it is a PDF`, and what to send instead."""

    clause: str
    remedy: str | None = None


IMAGES: Final = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "WebP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM.{4}\0{4}.{3}\0", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
    "HEIC": re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
    "QOI": re.compile(rb"qoif"),
}
RENDER: Final = "Send it as a PNG or JPEG image."
FRAME: Final = "Send one frame of it as a PNG or JPEG image."
UNPACK: Final = "Unpack it, and send each image by itself, or several to /predict/batch."
JSON_REMEDY: Final = (
    "Send it with Content-Type: application/json, and the image as base64 in the field `image`."
)
FORM_REMEDY: Final = "Send it with the Content-Type header that names its boundary."
NOT_FETCHED: Final = "The service fetches nothing: send the image itself."
PATH_REMEDY: Final = "Send the file's content; with curl: -F file=@seven.png."
WEIGHTS_REMEDY: Final = "Send weights to POST /models."

# In this order: the first match counts.
OTHERS: Final = tuple(
    (re.compile(pattern, re.DOTALL), FileType(clause, remedy))
    for pattern, clause, remedy in (
        (rb"%PDF-", "it is a PDF", "Send a page of it as a PNG or JPEG image."),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "it is PostScript", RENDER),
        (rb"8BPS", "it is a Photoshop file", RENDER),
        (rb"gimp xcf", "it is a GIMP file", RENDER),
        (rb"\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51", "it is a JPEG 2000", RENDER),
        (rb"\0\0\0\x0cJXL |\xff\x0a", "it is a JPEG XL", RENDER),
        (rb"\0\0[\x01\x02]\0[^\0]\0", "it is an icon (ICO)", RENDER),
        (rb"icns", "it is an icon (ICNS)", RENDER),
        (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "it is a Windows metafile", RENDER),
        (rb"AT&TFORM", "it is a DjVu", RENDER),
        (rb".{128}DICM", "it is a DICOM file", RENDER),
        (rb".{4}ftypcrx|FUJIFILMCCD|IIU\0|IIRO", "it is a raw photo of a camera", RENDER),
        (rb".{4}ftypM4A|ID3|\xff[\xf2\xf3\xfb]|OggS|fLaC|RIFF.{4}WAVE", "it is a sound", None),
        (rb".{4}ftyp|.{4}moov|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xba\xb3]|FLV\x01|0&\xb2u",
         "it is a video", FRAME),
        (rb"PK(?:\x03\x04|\x05\x06)", "it is a zip archive", UNPACK),
        (rb"\x1f\x8b", "it is compressed with gzip",
         "Send it with Content-Encoding: gzip, or uncompressed."),
        (rb"7z\xbc\xaf|Rar!\x1a|BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar",
         "it is an archive", UNPACK),
        (rb"\x89HDF\r\n", "it is an HDF5 file", None),
        (rb"\x93NUMPY", "it is an array of NumPy",
         'Send its pixels to /v1/models/mynet:predict as {"instances": [...]}.'),
        (rb"\0\0\x08[\x01-\x04]\0", "it is an IDX file, as those of MNIST",
         'Send its pixels to /v1/models/mynet:predict as {"instances": [...]}.'),
        (rb"[^{]{6}\0\0\{\"", "it is a safetensors file", WEIGHTS_REMEDY),
        (rb"\x80[\x02-\x05][\x8a\x95}(c]", "it is a pickle", WEIGHTS_REMEDY),
        (rb"\x7fELF|MZ[^\x20-\x7e]|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "it is a program", None),
        (rb"SQLite format 3\0", "it is a database", None),
    )
)  # fmt: skip
TEXTS: Final = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), FileType(clause, remedy))
    for pattern, clause, remedy in (
        (rb"(?:<\?xml.*?)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg.*?)?<svg\b", "it is an SVG", RENDER),
        (rb"<!doctype html|<html|<head|<body", "it is an HTML page",
         "If it was downloaded, the address was not that of the image."),
        (rb"<\?xml|<[a-z]", "it is XML", RENDER),
        (rb"\{\s*[\"}]|\[\s*[\[{\"\d-]|\[\s*\]", "it looks like JSON", JSON_REMEDY),
        (rb"--[^\r\n]+\r?\ncontent-", "it looks like a multipart form", FORM_REMEDY),
        (rb"\"?data:[^,]*,", "it is a data: URL that is damaged, or not base64",
         "Send it as `data:image/png;base64,...`."),
        (rb"(?:https?|s3|gs|ftp|blob|file):/?/?\S+", "it is a URL", NOT_FETCHED),
        (rb"@?\S{1,200}\.(?:png|jpe?g|gif|webp|bmp|tiff?|heic|avif)\s*$", "it is a file's name",
         PATH_REMEDY),
        (rb"\[object \w+\]$", "it is the text of a JavaScript object",
         "Send the File or Blob itself."),
        (rb"b'|b\"", "it is the text of a Python bytes object", "Send the bytes themselves."),
    )
)  # fmt: skip
BOM: Final = b"\xef\xbb\xbf"
TEXT: Final = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")


def is_image(content: bytes) -> bool:
    """Return whether the content begins as an image, which text and JSON never do."""
    return _image_format(content[:HEAD_BYTES]) is not None


def explain(content: bytes, hint: str) -> str:
    """Return why the content is refused as an image: what it is, and what to send instead.

    `hint` says which images the service reads. Only the first `HEAD_BYTES` are looked at.
    """
    file_type = identify(content[:HEAD_BYTES])
    if file_type is None:
        return f"{UNREADABLE}. {hint}"
    return f"{UNREADABLE}: {file_type.clause}. {file_type.remedy or hint}"


def identify(head: bytes) -> FileType | None:
    """Return the type of a file that begins with these bytes, or None if it is unknown."""
    if image_format := _image_format(head):
        return FileType(f"it begins like a {image_format}, but is truncated or damaged")
    for pattern, file_type in OTHERS:
        if pattern.match(head):
            return file_type
    text = head.removeprefix(BOM).strip()
    if not text or not TEXT.fullmatch(text):
        return None
    for pattern, file_type in TEXTS:
        if pattern.match(text):
            return file_type
    return _quote(text)


def _quote(text: bytes) -> FileType | None:
    """Return the type of other text, with its first line. Bytes that are not UTF-8 are no text."""
    try:
        whole = getincrementaldecoder("utf-8")().decode(text)  # the last character may be cut off
    except UnicodeDecodeError:
        return None
    if not whole:  # only a part of one character
        return None
    quoted = whole.splitlines()[0][:MAX_QUOTED]
    clause = "it is the text" if quoted == whole else "it is text that begins with"
    return FileType(f"{clause} {quoted!r}")


def _image_format(head: bytes) -> str | None:
    return next((name for name, pattern in IMAGES.items() if pattern.match(head)), None)
