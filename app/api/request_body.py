"""Request bodies: uploads in the three forms that clients send, and JSON whatever its label.

What enters: a request. What leaves: an image's bytes, or a checked model. This module does not know
what is in an image.
"""

import base64
import binascii
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.multipart import Part, read_form
from app.api.problem_details import invalid
from app.errors import BodyTooLarge, FieldError, InvalidField, MalformedRequest

MAX_JSON_BYTES: Final = 64 * 1024
MAX_JSON_TOKENS: Final = 100_000
FILE: Final = {"type": "string", "format": "binary"}
ModelT = TypeVar("ModelT", bound=BaseModel)


class ImageBody(BaseModel):
    """The JSON form of an upload; other fields are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)

    image: str = Field(
        description="base64, or a `data:` URL of it",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/*"},
    )


async def read_image(request: Request) -> bytes:
    """Return the bytes of the one image in the body: JSON `image`, or as `read_file`.

    Raises MalformedRequest, InvalidField, BodyTooLarge.
    """
    if _content_type(request) == "application/json":
        return decode_base64(parse(ImageBody, await request.body()).image, "image")
    return await read_file(request)


async def read_file(request: Request) -> bytes:
    """Return the bytes of the one file in the body: multipart `file`, or the body itself.

    Raises MalformedRequest, InvalidField, BodyTooLarge.
    """
    if _content_type(request) == "multipart/form-data":
        return _files(await _form(request), "file", max_files=1)[0]
    return await request.body()


async def read_form_with_file(request: Request, model: type[ModelT]) -> tuple[bytes, ModelT]:
    """Return the multipart field `file`, and the other fields of the form as a `model`.

    Fields that it does not know are passed over. Raises as `read_file`.
    """
    if _content_type(request) != "multipart/form-data":
        raise MalformedRequest("Send multipart/form-data with the image as the field `file`.")
    form = await _form(request)
    (file,) = _files(form, "file", max_files=1)
    fields: dict[str, str] = {}
    for part in form:
        if part.name in fields and part.name in model.model_fields:
            raise _invalid_field(part.name, "was sent several times, and may be once")
        fields[part.name] = part.content.decode(errors="replace") if not part.is_file else ""
    try:
        return file, model.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors()) from None


async def read_images(request: Request, max_files: int) -> list[bytes]:
    """Return the bytes of every multipart field `files`. Raises as `read_image`."""
    if _content_type(request) != "multipart/form-data":
        raise MalformedRequest("Send multipart/form-data with one `files` field for each image.")
    return _files(await _form(request), "files", max_files)


def multipart_content(field: str, schema: dict[str, Any] = FILE) -> dict[str, Any]:
    """Describe a multipart body with one field, for the OpenAPI document."""
    properties = {"type": "object", "required": [field], "properties": {field: schema}}
    return {"multipart/form-data": {"schema": properties}}


def form_with_file_content(model: type[BaseModel]) -> dict[str, Any]:
    """Describe the multipart body that `read_form_with_file` reads."""
    schema = model.model_json_schema()
    properties = {"file": FILE, **schema["properties"]}
    required = ["file", *schema["required"]]
    form_schema = {"type": "object", "required": required, "properties": properties}
    return {"multipart/form-data": {"schema": form_schema}}


def json_request_body(model: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """Describe a JSON body that a route reads itself, for the OpenAPI document."""
    return {"requestBody": {"required": required, "content": json_content(model)}}


def json_content(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a JSON body; the document has the schemas of `examples.READ_BY_ROUTES`."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


async def read_json(request: Request, model: type[ModelT]) -> ModelT:
    """Return the JSON body as a `model`; an empty body is an empty object.

    The Content-Type is not asked for: curl's default says that the body is a form.
    Raises MalformedRequest, InvalidField, BodyTooLarge.
    """
    content = await request.body() or b"{}"
    if len(content) > MAX_JSON_BYTES:
        raise BodyTooLarge(f"The JSON body is larger than {MAX_JSON_BYTES} bytes.")
    return parse(model, content)


def parse(model: type[ModelT], body: bytes) -> ModelT:
    """Check a JSON body. Raises MalformedRequest, InvalidField.

    Of lists, objects and fields, Python makes a million a second, and does nothing else meanwhile.
    """
    if len(body) - len(body.translate(None, b"[{:")) > MAX_JSON_TOKENS:
        raise MalformedRequest(
            f"The JSON body has over {MAX_JSON_TOKENS:,} lists, objects and fields."
        )
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error.errors(include_input=False, include_url=False)) from None


def parse_or_400(model: type[ModelT], body: bytes) -> ModelT:
    """Check a JSON body for a protocol that knows one status for what is wrong with a request.

    Raises MalformedRequest.
    """
    try:
        return parse(model, body)
    except InvalidField as refusal:
        raise MalformedRequest(refusal.detail) from None


def decode_base64(text: str, field: str) -> bytes:
    """Decode base64, standard or URL-safe, or a `data:` URL of it. Raises InvalidField."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise _not_base64(field)
    compact = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _not_base64(field) from None


def _files(form: list[Part], field: str, max_files: int) -> list[bytes]:
    parts = [part for part in form if part.name == field]
    if not parts:
        field_names = ", ".join(sorted({part.name for part in form})) or "none"
        raise _invalid_field(field, f"is missing; the fields sent are: {field_names:.300}")
    if len(parts) > max_files:
        raise _invalid_field(field, f"was sent {len(parts)} times, and may be {max_files} times")
    if not all(part.is_file for part in parts):
        raise _invalid_field(field, "must be a file, sent with a filename")
    return [part.content for part in parts]


async def _form(request: Request) -> list[Part]:
    return read_form(await request.body(), request.headers["content-type"].encode("latin-1"))


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_base64(field: str) -> InvalidField:
    return _invalid_field(field, "must be base64 or a base64 data: URL")


def _invalid_field(field: str, message: str) -> InvalidField:
    return InvalidField(f"{field} {message}", errors=[FieldError(field, message)])
