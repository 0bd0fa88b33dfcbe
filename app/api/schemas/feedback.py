"""Request and response bodies of `/feedback`."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


def _remove_null(schema: dict[str, Any]) -> None:
    """Change the schema of an optional field into that of a form, which has no null."""
    integer, _ = schema.pop("anyOf")
    del schema["default"]
    schema |= integer


class Label(BaseModel):
    """The fields other than `file` in the body of `POST /feedback`."""

    is_digit: bool = Field(
        True, description="`false`, instead of a `label`, if the image shows no digit"
    )
    label: int | None = Field(
        None,
        ge=0,
        le=9,
        validate_default=True,
        description="the digit that the image shows",
        json_schema_extra=_remove_null,
    )
    prediction_id: str = Field(
        "", pattern="^[A-Za-z0-9_-]{0,64}$", description="`id` of the prediction that was wrong"
    )

    @field_validator("label")
    @classmethod
    def _check_is_digit(cls, label: int | None, info: ValidationInfo) -> int | None:
        is_digit = info.data.get("is_digit")  # missing if it is invalid
        if label is None and is_digit:
            raise ValueError("Field required, or is_digit=false")
        if label is not None and is_digit is False:
            raise ValueError("was sent with is_digit=false; send one of the two")
        return label


class Correction(BaseModel):
    """An image with its correct label, sent by a client."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(
        description="derived from the pixels, so it does not depend on the image format"
    )
    label: int | None = Field(
        ge=0, le=9, description="the digit that the image shows; null if it shows none"
    )
    is_digit: bool = Field(description="false if the image shows no digit")
    prediction_id: str | None = Field(description="`id` of the prediction that was wrong")
    created_at: datetime


class Corrections(BaseModel):
    data: list[Correction]
    has_more: bool
