"""`mynet train`: queue a training job, and follow it."""

from typing import Annotated

import typer

from app.cli import context, options
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, Follow, Url
from app.train.jobs.hyperparameters import Hyperparameters, PromoteRule, Recipe

PROMOTE = options.hyperparameter(
    "promote",
    "Whether the new version goes live. if_better: if it reads significantly more test images "
    "than the live version.",
)


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
    note: Annotated[str | None, options.NOTE] = None,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Queue a training job; without options, the tutorial's.

    With --follow, train here if no service does. Exit 1 if a followed job does not succeed.
    """
    values = {
        name: value for name, value in locals().items() if name in Hyperparameters.model_fields
    }
    hyperparameters = options.checked(Hyperparameters, values)
    console = context.console(stderr=as_json)
    with open_backend(url, api_key) as backend:
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
                f"No service runs. The job starts with: mynet serve, or mynet job {job['id']} "
                "--follow",
                soft_wrap=True,
            )
    if as_json:
        from app.cli import output

        output.print_json(job)
    raise typer.Exit(1 if follow and job["status"] != "succeeded" else 0)
