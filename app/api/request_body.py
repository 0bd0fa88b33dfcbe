"""Request bodies: image uploads in three forms, and JSON with any Content-Type."""

import codecs
import re
from typing import Any, Final, TypeVar

import numpy as np
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from app.api.encoded_images import decode_base64, decode_if_text, invalid_field, looks_like_json
from app.api.multipart import Part, read_form
from app.api.problem_details import invalid
from app.errors import BodyTooLarge, InvalidField, MalformedRequest
from app.image.signatures import is_image
from app.net import PIXELS

MAX_JSON_BYTES: Final = 64 * 1024
MAX_JSON_TOKENS: Final = 100_000
# Escapes in strings: base64 of 10 MB has up to 440,000, if its lines and slashes are escaped.
MAX_JSON_ESCAPES: Final = 500_000
UTF_16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
JSON: Final = "application/json"
LIST_SUFFIX: Final = re.compile(r"\[\d*\]$")  # axios and PHP send `files[]` and `files[0]`
FILE: Final = {"type": "string", "format": "binary"}
ModelT = TypeVar("ModelT", bound=BaseModel)


class ImageBody(BaseModel):
    """An upload as JSON; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    image: str = Field(
        description="the image in base64, or as a base64 `data:` URL",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/*"},
    )


class ImageText(RootModel[str]):
    """An upload as one JSON string, in base64 or as a `data:` URL."""

    model_config = ConfigDict(strict=True)


async def read_image(request: Request) -> bytes:
    """Return the bytes of the one image in the body: multipart `file`, JSON, or the body itself.

    The content decides before its Content-Type, which many clients set wrongly: no image begins
    like JSON or base64, and no JSON or form like an image.
    Raises MalformedRequest, InvalidField, BodyTooLarge.
    """
    content_type, body = _content_type(request), await request.body()
    if is_image(body):
        return body
    if content_type == "multipart/form-data":
        return decode_if_text(_files(await _form(request), "file", max_files=1)[0])
    if looks_like_json(body):
        return _image_in_json(body)
    image = decode_if_text(body)
    return _image_in_json(body) if image is body and content_type == JSON else image


def _image_in_json(body: bytes) -> bytes:
    """Return the image in a JSON object `{"image": ...}`, or in a JSON string."""
    is_string = body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b'"')
    text = parse(ImageText, body).root if is_string else parse(ImageBody, body).image
    return decode_base64(text, "image")


async def read_file(request: Request) -> bytes:
    """Return the bytes of the one file in the body: multipart `file`, or the body itself.

    Raises MalformedRequest, InvalidField, BodyTooLarge.
    """
    if _content_type(request) == "multipart/form-data":
        return _files(await _form(request), "file", max_files=1)[0]
    return await request.body()


async def read_form_with_file(request: Request, model: type[ModelT]) -> tuple[bytes, ModelT]:
    """Return the multipart field `file`, and the other fields of the form as a `model`.

    Unknown fields are ignored. Raises the same errors as `read_file`.
    """
    if _content_type(request) != "multipart/form-data":
        raise MalformedRequest(
            "The body is not multipart/form-data. Send the image as the form field `file`."
        )
    form = await _form(request)
    (file,) = map(decode_if_text, _files(form, "file", max_files=1))
    fields: dict[str, str] = {}
    for part in form:
        if part.name in fields and part.name in model.model_fields:
            raise invalid_field(part.name, "was sent more than once; send one value")
        if part.name in model.model_fields:
            fields[part.name] = part.content.decode(errors="replace")
    try:
        return file, model.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors()) from None


async def read_images(request: Request, max_files: int) -> list[bytes]:
    """Return the bytes of every multipart field `files`. Raises the same errors as `read_image`."""
    if _content_type(request) != "multipart/form-data":
        raise MalformedRequest(
            "The body is not multipart/form-data. Send one form field `files` for each image."
        )
    return [*map(decode_if_text, _files(await _form(request), "files", max_files))]


def multipart_content(field: str, schema: dict[str, Any] = FILE) -> dict[str, Any]:
    """Return the OpenAPI content of a multipart body with one field."""
    properties = {"type": "object", "required": [field], "properties": {field: schema}}
    return {"multipart/form-data": {"schema": properties}}


def form_with_file_content(
    model: type[BaseModel], examples: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the OpenAPI content of the multipart body that `read_form_with_file` reads."""
    schema = model.model_json_schema()
    properties = {"file": FILE, **schema["properties"]}
    required = ["file", *schema.get("required", ())]
    form_schema = {"type": "object", "required": required, "properties": properties}
    content = {"schema": form_schema} | ({"examples": examples} if examples else {})
    return {"multipart/form-data": content}


def json_request_body(model: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """Return the OpenAPI request body of a JSON body that a route parses itself."""
    return {"requestBody": {"required": required, "content": json_content(model)}}


def json_content(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI content of a JSON body; `examples.READ_BY_ROUTES` adds its schema."""
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


async def read_json(request: Request, model: type[ModelT]) -> ModelT:
    """Return the JSON body as a `model`; an empty body counts as an empty object.

    The Content-Type is ignored, because curl declares a form by default.
    Raises MalformedRequest, InvalidField, BodyTooLarge.
    """
    content = await request.body() or b"{}"
    if len(content) > MAX_JSON_BYTES:
        raise BodyTooLarge(
            f"The JSON body is larger than the limit of {MAX_JSON_BYTES} bytes. Send a smaller one."
        )
    return parse(model, content)


def parse(model: type[ModelT], body: bytes, max_values: int = MAX_JSON_TOKENS) -> ModelT:
    """Return a JSON body as a `model`. Raises MalformedRequest, InvalidField.

    A large body is scanned first. The parser holds the GIL until it has finished, so the event loop
    would stand still even if it ran in a thread: 670 ms for five million numbers in either place.
    """
    body = _without_mark(body)
    if len(body) > MAX_JSON_TOKENS:  # a shorter one cannot reach any limit
        _check_counts(body, max_values)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error.errors(include_input=False, include_url=False)) from None


def _without_mark(body: bytes) -> bytes:
    """Return JSON without its byte order mark, in UTF-8. Raises MalformedRequest.

    RFC 8259 (8.1) lets a parser ignore the mark, which editors and PowerShell write.
    """
    if not body.startswith(UTF_16_MARKS):
        return body.removeprefix(codecs.BOM_UTF8)
    try:
        return body.decode("utf-16").encode()
    except UnicodeError:
        raise MalformedRequest(
            "The body begins with the byte order mark of UTF-16, but is not UTF-16. "
            "Send JSON in UTF-8."
        ) from None


def _check_counts(body: bytes, max_values: int) -> None:
    """Raise MalformedRequest if a JSON body has too many of what takes the parser long.

    Lists, objects and fields take longer than numbers. numpy counts in half the time of `bytes`.
    """
    characters = np.frombuffer(body, np.uint8)

    def count(character: str) -> int:
        return int(np.count_nonzero(characters == ord(character)))

    if sum(map(count, "[{:")) > MAX_JSON_TOKENS:
        raise _too_many(f"{MAX_JSON_TOKENS:,} lists, objects and fields")
    if count(",") > max_values:
        raise _too_many(f"{max_values:,} values")
    if count("\\") > MAX_JSON_ESCAPES:
        raise _too_many(f"{MAX_JSON_ESCAPES:,} escapes in strings")


def parse_or_400(model: type[ModelT], body: bytes, max_images: int) -> ModelT:
    """Return a JSON body as a `model`, for a protocol with one status for all invalid requests.

    It may hold as many values as so many images have pixels. Raises MalformedRequest.
    """
    try:
        return parse(model, body, max_images * PIXELS + MAX_JSON_TOKENS)
    except InvalidField as refusal:
        raise MalformedRequest(refusal.detail) from None


def _files(form: list[Part], field: str, max_files: int) -> list[bytes]:
    parts = [part for part in form if LIST_SUFFIX.sub("", part.name) == field]
    if not parts:
        field_names = ", ".join(sorted({part.name for part in form})) or "none"
        raise invalid_field(field, f"is missing; the fields sent are: {field_names:.300}")
    if len(parts) > max_files:
        raise invalid_field(field, f"was sent {len(parts)} times; the limit is {max_files}")
    return [part.content for part in parts]


async def _form(request: Request) -> list[Part]:
    return read_form(await request.body(), request.headers["content-type"].encode("latin-1"))


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_many(limit: str) -> MalformedRequest:
    return MalformedRequest(f"The JSON body has more than {limit}. Send fewer in one request.")
