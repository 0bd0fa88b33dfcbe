"""`mynet train`: queue a training job, and follow it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import context, options
from app.cli.backend import Backend, Fields
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, Follow, Url
from app.train.jobs.hyperparameters import PromoteRule, Recipe, TrainRequest

if TYPE_CHECKING:
    from rich.console import Console

PROMOTE = options.hyperparameter(
    "promote",
    "Whether the new version goes live. if_better: if it reads significantly more test images "
    "than the live version.",
)

WEBHOOK = typer.Option(
    metavar="URL",
    help="URL that gets the end of the job, signed with the service's MYNET_WEBHOOK_SECRET.",
    show_default="none",
)
WEBHOOK_EVENT = typer.Option(
    help="With --webhook: an event that it gets; several times for several.",
    show_default="all",
)


class EventName(StrEnum):
    """An event of a webhook. Typer has no list of the Literal of the API."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PROMOTED = "promoted"


def train(
    recipe: Annotated[Recipe | None, options.RECIPE] = None,
    epochs: Annotated[int | None, options.EPOCHS] = None,
    batch_size: Annotated[int | None, options.BATCH_SIZE] = None,
    learning_rate: Annotated[float | None, options.LEARNING_RATE] = None,
    momentum: Annotated[float | None, options.MOMENTUM] = None,
    seed: Annotated[int | None, options.SEED] = None,
    promote: Annotated[PromoteRule | None, PROMOTE] = None,
    device: Annotated[str | None, options.DEVICE] = None,
    include_feedback: Annotated[bool | None, options.INCLUDE_FEEDBACK] = None,
    init: Annotated[str | None, options.INIT] = None,
    keep_checkpoints: Annotated[bool | None, options.KEEP_CHECKPOINTS] = None,
    validation_fraction: Annotated[float | None, options.VALIDATION_FRACTION] = None,
    early_stopping: Annotated[int | None, options.EARLY_STOPPING] = None,
    min_delta: Annotated[float | None, options.MIN_DELTA] = None,
    max_seconds: Annotated[float | None, options.MAX_SECONDS] = None,
    datasets: Annotated[list[str] | None, options.DATASETS] = None,
    test_dataset: Annotated[str | None, options.TEST_DATASET] = None,
    note: Annotated[str | None, options.NOTE] = None,
    webhook: Annotated[str | None, WEBHOOK] = None,
    webhook_event: Annotated[list[EventName] | None, WEBHOOK_EVENT] = None,
    dry_run: Annotated[bool, options.DRY_RUN] = False,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Queue a training job; without options, the tutorial's.

    With --follow, train here if no service does. Exit 1 if a followed job does not succeed.
    """
    fields = set(TrainRequest.model_fields) - {"dry_run"}
    values = {name: value for name, value in locals().items() if name in fields}
    nested = {
        "init": _init(init),
        "early_stopping": _early_stopping(early_stopping, min_delta),
        "webhook": _webhook(webhook, webhook_event),
    }
    hyperparameters = options.checked(TrainRequest, values | nested)
    with open_backend(url, api_key) as backend:
        if dry_run:
            return _show_plan(backend.dry_run(hyperparameters), as_json=as_json)
        job = _queue(backend, hyperparameters, context.console(stderr=as_json), follow=follow)
    if as_json:
        from app.cli import output

        output.print_json(job)
    raise typer.Exit(1 if follow and job["status"] != "succeeded" else 0)


def _queue(
    backend: Backend, hyperparameters: Fields, console: "Console", *, follow: bool
) -> Fields:
    """Queue a job, follow it if that is wanted, and return it."""
    supervision = backend.supervision() if follow else None
    job = backend.train(hyperparameters)
    console.print(f"job {job['id']}, seed {job['hyperparameters']['seed']}")
    if supervision is not None:
        from app.cli import follow as following

        with supervision:
            job = following.follow(backend, job["id"], console)
        following.print_end(console, job)
    elif not backend.is_supervised():
        console.print(
            f"No service runs. The job starts with: mynet serve, or mynet job {job['id']} --follow",
            soft_wrap=True,
        )
    return job


def _init(text: str | None) -> Fields | None:
    """Return the field for `3` or `JOB:4`. What is no number is refused with the others."""
    if text is None:
        return None
    job, colon, number = text.rpartition(":")
    value = int(number) if number.isdecimal() else number
    return {"job": job, "epoch": value} if colon else {"version": value}


def _early_stopping(epochs: int | None, min_delta: float | None) -> Fields | None:
    """Return the field; `epochs` without a lower validation loss end the training."""
    fields = {"patience": epochs, "min_delta": min_delta}
    return {name: value for name, value in fields.items() if value is not None} or None


def _webhook(url: str | None, events: list[EventName] | None) -> Fields | None:
    """Return the field; events without a URL are refused with the others."""
    fields = {"url": url, "events": [event.value for event in events or []] or None}
    return {name: value for name, value in fields.items() if value is not None} or None


def _show_plan(plan: Fields, *, as_json: bool) -> None:
    """Print what a job would do."""
    from app.cli import output

    if as_json:
        return output.print_json(plan)
    images, seconds = plan["images"], plan["estimated_seconds"]
    unknown = "none, as no such job has ended here"
    output.print_fields(
        {
            "hyperparameters": output.pairs(plan["hyperparameters"]),
            "images": f"{sum(images.values()):,} ({output.pairs(images)})",
            "no digit": str(plan["non_digits"] or ""),
            "held out": f"{plan['validation_images']:,}",
            "steps": f"{plan['steps']:,}",
            "jobs ahead": str(plan["jobs_ahead"]),
            "estimate": unknown if seconds is None else f"{seconds:.0f} s",
        }
    )
    typer.echo("\nNothing was queued. Without --dry-run, the job is queued.")
