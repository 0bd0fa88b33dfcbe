"""Request and response bodies of `/keys`."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.auth.keys import Scope
from app.train.jobs.hyperparameters import Whole

DAY: int = 86_400  # seconds


class ApiKey(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used: datetime | None = Field(
        description="when a request last had this key, exact to about a minute; null: never"
    )


class ApiKeys(BaseModel):
    data: list[ApiKey]


class NewApiKey(ApiKey):
    """A new API key with its secret."""

    key: str = Field(description="the secret, in this answer only")


class NewKey(BaseModel):
    """The body of `POST /keys`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_.@+-]{1,64}$", description="name of the key's owner")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    days: int | None = Field(
        None, ge=1, le=36_500, description="days until the key expires; null: it never expires"
    )


class Rotation(BaseModel):
    """The body of `POST /keys/{id}/rotate`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    grace_seconds: Whole = Field(
        DAY, ge=0, le=365 * DAY, description="seconds for which the old key stays valid"
    )
