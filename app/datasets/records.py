"""What a data set says of itself: its name, counts, rejected images, and suspect labels."""

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.errors import FieldError, InvalidField

MNIST: Final = "mnist"
MNIST_TEST: Final = "mnist-test"
CORRECTIONS: Final = "corrections"
BUILT_IN: Final = (MNIST, MNIST_TEST, CORRECTIONS)
MAX_NAME_LENGTH: Final = 64
ID_PATTERN: Final = r"[0-9a-f]{16}"
# Rejected and suspect images that are listed; the counts include all.
MAX_LISTED: Final = 1000
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DatasetName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def check_name(name: str) -> None:
    """Raise InvalidField if an uploaded data set cannot have this name."""
    if not re.fullmatch(NAME_PATTERN, name):
        problem = (
            f"{name[: MAX_NAME_LENGTH + 1]!r} is not allowed; send 1 to {MAX_NAME_LENGTH} letters "
            "(a-z, A-Z), digits, `.`, `_` and `-`, beginning with a letter or digit"
        )
    elif name in BUILT_IN or re.fullmatch(ID_PATTERN, name):
        problem = f"{name} is reserved; send another name"
    else:
        return
    raise InvalidField(f"name: {problem}.", errors=[FieldError("name", problem)])


class RejectedImage(BaseModel):
    """An image of the upload that is not in the data set."""

    name: str = Field(description="its path in the upload, or the number of its row or image")
    code: str = Field(description="why, in a word, such as `not_an_image` or `invalid_label`")


class SuspectImage(BaseModel):
    """An image whose label the live version contradicts. It stays in the data set."""

    id: str = Field(description="`id` in the images of the data set")
    name: str
    label: int = Field(ge=0, le=9)
    digit: int = Field(ge=0, le=9, description="the digit that the live version reads")
    confidence: float = Field(description="the probability of `digit`")


class DatasetSummary(BaseModel):
    """A data set without its rejected and suspect images."""

    id: str = Field(description="that of `mnist`, `mnist-test` and `corrections` is their name")
    name: str
    digest: str | None = Field(
        description="sha256 of the normalised pixels and the labels; null for `corrections`, which "
        "changes, and before MNIST is downloaded"
    )
    images: int | None = Field(description="number of images; null before MNIST is downloaded")
    labels: dict[str, int] | None = Field(
        description="number of images by label; null before MNIST is downloaded"
    )
    non_digits: int = Field(
        0, description="number of images that show no digit, in `corrections`; not in `labels`"
    )
    created_at: datetime | None = Field(description="null if it was not uploaded")


class Dataset(DatasetSummary):
    """A data set, with the images that were rejected and those whose label is suspect."""

    version: int | None = Field(None, description="the live version that looked for suspect labels")
    rejected: list[RejectedImage] = Field([], description=f"at most {MAX_LISTED:,}")
    rejected_images: int = Field(0, description="number of all rejected images")
    suspect: list[SuspectImage] = Field([], description=f"at most {MAX_LISTED:,}, surest first")
    suspect_images: int = Field(0, description="number of all suspect images")


class DatasetImage(BaseModel):
    """An image of a data set."""

    model_config = ConfigDict(frozen=True)

    id: str
    label: int | None = Field(ge=0, le=9, description="null if the image shows no digit")
    is_digit: bool = Field(True, description="false if the image shows no digit")
    image: str = Field(description="a PNG data URL: 28×28 pixels, or the picture of a correction")
