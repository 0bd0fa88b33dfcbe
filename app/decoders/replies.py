"""Replies of a decoder, as the server checks them.

A decoder has read hostile bytes and may run an attacker's code, so the models bound every value.
"""

from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from app.decoders import graphs
from app.decoders.frames import MAX_DETAIL
from app.image.segmentation.segment import MAX_CANDIDATES, MAX_CUTS, MAX_PIECES

MAX_SIDE: Final = 1024  # of the grey pixels that a decoder returns
# More than the grey pixels take.
MAX_CONTENT_BYTES: Final = graphs.content_bytes([(MAX_CUTS, MAX_CANDIDATES)])
Count = Annotated[int, Field(ge=1, le=MAX_CUTS)]
Edge = Annotated[int, Field(ge=0, le=2**16)]
Scale = Annotated[float, Field(gt=0, le=2**32)]
Shift = Annotated[float, Field(ge=-28, le=28)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    last: bool  # the decoder ends after this reply


class Digit(_Reply):
    """A normalised digit. Its content has 28x28 bytes."""

    kind: Literal["digit"]
    inverted: bool
    box: tuple[Edge, Edge, Edge, Edge]
    shift: tuple[Shift, Shift]
    digit_count: int = Field(ge=1, le=2**16)
    scale: Scale
    decode_seconds: Seconds
    normalise_seconds: Seconds
    began: float  # by `time.perf_counter`, whose clock all processes share

    @property
    def content_bytes(self) -> int:
        return 28 * 28


class GreyPixels(_Reply):
    """A grey image with ink. Its content has a byte for each pixel, row by row."""

    kind: Literal["grey"]
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)

    @property
    def content_bytes(self) -> int:
        return self.width * self.height


class Segments(_Reply):
    """The segmentation graphs of an image's lines. Its content is that of `graphs.pack`."""

    kind: Literal["segments"]
    scale: Scale
    counts: list[tuple[Count, Count]] = Field(
        min_length=1, max_length=MAX_PIECES, description="the cuts and candidates of each line"
    )

    @model_validator(mode="after")
    def _check_totals(self) -> Self:
        cuts, candidates = (sum(column) for column in zip(*self.counts, strict=True))
        if cuts > MAX_CUTS or candidates > MAX_CANDIDATES:
            raise ValueError(f"{cuts} cuts and {candidates} candidates are too many")
        return self

    @property
    def content_bytes(self) -> int:
        return graphs.content_bytes(self.counts)


class Refusal(_Reply):
    """The error that the client gets; `internal_error` is a defect, which the server logs."""

    kind: Literal["refusal"]
    code: Literal[
        "not_an_image", "image_too_large", "blank_image", "too_many_digits", "internal_error"
    ]
    detail: str = Field(max_length=MAX_DETAIL)

    @property
    def content_bytes(self) -> int:
        return 0


class Deferral(_Reply):
    """The image was not decoded: it needs more memory or time than its lane has."""

    kind: Literal["deferral"]
    lane: Literal["PHOTO", "LARGE"]

    @property
    def content_bytes(self) -> int:
        return 0


Reply: TypeAlias = Digit | GreyPixels | Segments | Refusal | Deferral
REPLY: Final[TypeAdapter[Reply]] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])
