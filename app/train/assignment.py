"""What the supervisor hands to a training process: one line of JSON."""

from pydantic import BaseModel

from app.settings import Settings


class Assignment(BaseModel):
    """Which attempt of which job to run, under which settings."""

    settings: Settings
    job_id: str
    attempt: int
