"""Response bodies of predictions and readings."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, Field

from app.api.schemas.resources import Problem


class Normalisation(BaseModel):
    """How the upload was preprocessed for the network."""

    inverted: bool = Field(description="the ink was darker than its background")
    box: tuple[int, int, int, int] = Field(
        description="left, top, right and bottom of the ink, in pixels of the upright upload"
    )
    shift: tuple[float, float] = Field(
        description="x and y that centred the mass, in pixels of the 28×28 image"
    )


class LayerActivations(BaseModel):
    """The activations of a hidden layer, quantised to bytes."""

    layer: str = Field(description="name of the layer in the weights, such as `fc1`")
    maximum: float = Field(ge=0, description="the largest activation")
    values: list[int] = Field(
        description="by unit: its activation, where 0 is 0 and 255 is `maximum`"
    )


Reason: TypeAlias = Literal["not_a_digit", "several_digits"]


class Prediction(BaseModel):
    id: str
    digit: int = Field(ge=0, le=9)
    confidence: float = Field(description="the probability of `digit`")
    probabilities: list[float] = Field(
        min_length=10, max_length=10, description="by digit, with at most 7 significant digits"
    )
    is_digit: bool = Field(description="false if the image does not look like one digit")
    reason: Reason | None = Field(description="why `is_digit` is false")
    count: int = Field(
        ge=1, description="pieces of a digit's size in the image; only one of them was read"
    )
    version: int
    seen: str | None = Field(  # plain-words: ok
        None, description="the 28×28 input of the network, a PNG data URL"
    )
    saliency: str | None = Field(
        None, description="the pixels that support `digit`, a PNG data URL"
    )
    normalisation: Normalisation | None = None
    activations: list[LayerActivations] | None = Field(
        None, description="the hidden layers' activations, in the order of the layers"
    )


class ReadDigit(BaseModel):
    digit: int = Field(ge=0, le=9)
    confidence: float = Field(description="the probability of `digit`")
    is_digit: bool = Field(description="false if this ink does not look like a digit")
    box: tuple[int, int, int, int] = Field(
        description="left, top, right and bottom of the ink, in pixels of the upright upload"
    )


class TextLine(BaseModel):
    text: str = Field(description="its digits, from left to right")
    digits: list[ReadDigit]


class Reading(BaseModel):
    """All digits of an image."""

    id: str
    text: str = Field(description="the lines' texts, from top to bottom, joined by line breaks")
    lines: list[TextLine]
    version: int


class Refused(BaseModel):
    error: Problem


class Predictions(BaseModel):
    predictions: list[Prediction | Refused]
    version: int
