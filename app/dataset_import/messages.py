"""Frames from the process that reads an upload, as the server checks them.

The process has read hostile bytes and may run an attacker's code, so the models bound every value.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.dataset_import.formats.items import BLOCK, Limits
from app.net import PIXELS

MAX_DETAIL: Final = 2000
MAX_NAME: Final = 1000
Name = Annotated[str, Field(max_length=MAX_NAME)]
Code = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]


class ImportRequest(BaseModel):
    """The bounds of an upload. Its file is the descriptor in the arguments of the process."""

    limits: Limits


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Unfiltered(_Frame):
    """The process runs without a filter of system calls, because of this error number."""

    kind: Literal["unfiltered"] = "unfiltered"
    error_number: int = Field(ge=1, le=255)


class PictureFrame(_Frame):
    """An image file. Its content has the bytes."""

    kind: Literal["picture"] = "picture"
    name: Name
    label: int = Field(ge=0, le=9)


class PixelsFrame(_Frame):
    """Images as numbers. Its content has a byte for each label, then 784 for each image."""

    kind: Literal["pixels"] = "pixels"
    name: Literal["row", "image"]
    numbers: list[int] = Field(min_length=1, max_length=BLOCK)

    @property
    def content_bytes(self) -> int:
        return len(self.numbers) * (1 + PIXELS)

    @staticmethod
    def max_content_bytes() -> int:
        """Return the size of the longest content."""
        return BLOCK * (1 + PIXELS)


class RejectionFrame(_Frame):
    """An image that cannot be used."""

    kind: Literal["rejection"] = "rejection"
    name: Name
    code: Code


class Refusal(_Frame):
    """The error that the client gets for the whole upload."""

    kind: Literal["refusal"] = "refusal"
    code: Literal["malformed_request", "body_too_large", "invalid_field"]
    detail: str = Field(max_length=MAX_DETAIL)


class End(_Frame):
    """The end of the upload."""

    kind: Literal["end"] = "end"


Frame: TypeAlias = Unfiltered | PictureFrame | PixelsFrame | RejectionFrame | Refusal | End
FRAME: Final[TypeAdapter[Frame]] = TypeAdapter(Annotated[Frame, Field(discriminator="kind")])
