"""What the supervisor hands to a process, on its standard input: a job's attempt, or a sweep.

What enters: settings and the attempt to run. What leaves: one line of JSON, and back. This module
does not know how it travels.
"""

from pydantic import BaseModel

from app.config.settings import Settings


class Assignment(BaseModel):
    """Which attempt of which job to run, under which settings."""

    settings: Settings
    job_id: str
    attempt: int


class SweepAssignment(BaseModel):
    """Which sweep to bring to its end, under which settings."""

    settings: Settings
    sweep_id: str
