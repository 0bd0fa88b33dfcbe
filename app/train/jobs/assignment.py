"""The assignment of a worker process: one line of JSON on its standard input."""

from pydantic import BaseModel

from app.config.settings import Settings


class Assignment(BaseModel):
    """Which attempt of which job to run, under which settings."""

    settings: Settings
    job_id: str
    attempt: int
