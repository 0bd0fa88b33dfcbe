"""Response models of data sets, and of the corrections that are one."""

from datetime import datetime

from pydantic import Field

from mynet_client.answers import ResponseModel


class RejectedImage(ResponseModel):
    """An image of an upload that is not in the data set, and why, in a word."""

    name: str
    code: str


class SuspectImage(ResponseModel):
    """An image whose label the live version contradicts."""

    id: str
    name: str
    label: int
    digit: int
    confidence: float


class DatasetSummary(ResponseModel):
    """A data set without its rejected and suspect images."""

    id: str
    name: str
    digest: str | None = None
    images: int | None = None
    labels: dict[str, int] | None = None
    non_digits: int = 0
    created_at: datetime | None = None


class Dataset(DatasetSummary):
    """A data set; the lists of rejected and suspect images may be shorter than their counts."""

    version: int | None = None
    rejected: list[RejectedImage] = Field([])
    rejected_images: int = 0
    suspect: list[SuspectImage] = Field([])
    suspect_images: int = 0


class Datasets(ResponseModel):
    """A page of data sets: the built-in ones, then the uploaded ones, oldest first."""

    data: list[DatasetSummary]
    has_more: bool


class DatasetImage(ResponseModel):
    """An image of a data set; `image` is a PNG data URL. `label` is None if it shows no digit."""

    id: str
    label: int | None
    is_digit: bool = True
    image: str


class DatasetImages(ResponseModel):
    """A page of the images of a data set."""

    data: list[DatasetImage]
    has_more: bool


class Correction(ResponseModel):
    """An image with its correct label: the digit that it shows, or None if it shows no digit."""

    id: str
    label: int | None
    is_digit: bool = True
    prediction_id: str | None = None
    created_at: datetime


class Corrections(ResponseModel):
    """A page of corrections, newest first."""

    data: list[Correction]
    has_more: bool
