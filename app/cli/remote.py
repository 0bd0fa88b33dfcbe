"""The command line's verbs, asked of a service elsewhere.

What enters: a service's address, and what the verbs want. What leaves: what the terminal shows.
This module does not know the state folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from app.cli import output
from mynet_client import Client, MyNetError

REFUSALS = (MyNetError, OSError)


def predict(client: Client, files: list[Path], version: int | None, *, as_json: bool) -> bool:
    """Show the digit in each file. Says whether all were read."""

    def read(file: Path) -> dict[str, Any]:
        return client.predict(file, version=version).model_dump(exclude_none=True)

    return output.predictions(files, read, REFUSALS, as_json=as_json)


def train(
    client: Client, hyperparameters: Mapping[str, Any], console: Console, *, follow: bool
) -> bool:
    """Queue a job, and stay with it where `follow` says so. Says whether all went well.

    Raises MyNetError.
    """
    job = client.train(**hyperparameters)
    console.print(f"job {job.id}, seed {job.hyperparameters['seed']}")
    if not follow:
        return True
    with output.progress(console) as progress:
        bar = output.JobProgressBar(progress)
        for event in client.events(job):
            bar.on_event(event.event, event.data)
            if event.event in ("status", "batch"):
                job_fields = client.job(job).model_dump()
                bar.update(job_fields["status"], job_fields["progress"])
    job_fields = client.job(job).model_dump()
    return output.ended(console, job_fields["status"], job_fields["result"], job_fields["error"])


def models(client: Client) -> None:
    """Show the versions. Raises MyNetError."""
    versions = client.models()
    output.versions(versions.data, versions.current)
