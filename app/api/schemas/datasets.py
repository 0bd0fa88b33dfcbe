"""Request and response bodies of `/datasets`."""

from pydantic import BaseModel, Field

from app.datasets.records import DatasetImage, DatasetName, DatasetSummary


class NewDataset(BaseModel):
    """The fields other than `file` in the body of `POST /datasets`."""

    name: DatasetName = Field(description="unique; letters, digits, `.`, `_` and `-`")
    transposed: bool = Field(
        False,
        description="swap rows and columns of images that are numbers, as EMNIST's files need it",
    )


class DatasetPage(BaseModel):
    data: list[DatasetSummary]
    has_more: bool


class DatasetImages(BaseModel):
    data: list[DatasetImage]
    has_more: bool
