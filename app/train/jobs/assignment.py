"""The assignment of a worker process: one line of JSON on its standard input."""

from pydantic import BaseModel

from app.config.settings import Settings


class Assignment(BaseModel):
    """The attempt that a worker process runs, with the settings of the service."""

    settings: Settings
    job_id: str
    attempt: int
