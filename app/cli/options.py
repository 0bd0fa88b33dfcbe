"""Options and arguments that several verbs share."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app.config.settings import API_KEY, URL
from app.train.jobs.hyperparameters import Hyperparameters, recipe_defaults

STATE_FOLDER: Final = "the state folder"


def flag(name: str, description: str) -> Any:
    """Return an option without a value, which is off by default."""
    return typer.Option(name, help=description, show_default="off")


Url = Annotated[
    str | None,
    typer.Option(
        envvar=URL,
        help="Address of a running service, as http://localhost:8000.",
        show_default=STATE_FOLDER,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(envvar=API_KEY, help="Key for the service at --url.", show_default="none"),
]
AsJson = Annotated[bool, flag("--json", "Print JSON, with the API's fields.")]
Follow = Annotated[bool, flag("--follow", "Show the progress until the job has ended.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="Number of rows to print.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, as `mynet jobs` shows.")]
SweepId = Annotated[
    str, typer.Argument(metavar="SWEEP", help="Id of a sweep, as `mynet sweeps` shows.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write.", show_default="a name in this folder"),
]
Force = Annotated[bool, flag("--force", "Replace the file if it exists.")]
Version = Annotated[int, typer.Argument(min=1, help="Number of a version.")]


def after(kind: str, following: str = "older ones") -> Any:
    """Return the option that continues a list after the row with this id."""
    return typer.Option(help=f"Id of the last {kind} seen: print {following}.", show_default="none")


def hyperparameter(name: str, description: str, default: str = "") -> Any:
    """Return the option for a hyperparameter, with the default that a job would use."""
    standard = default or str(Hyperparameters.model_fields[name].default)
    defaults = "; ".join(filter(None, [standard, recipe_defaults(name)]))
    return typer.Option(help=description, show_default=defaults)


RECIPE: Final = hyperparameter(
    "recipe",
    "documented: the tutorial's training loop. quick: as accurate, in two epochs. "
    "robust: augmented, for real handwriting.",
)
EPOCHS: Final = hyperparameter("epochs", "Passes over the training images, 1 to 1000.")
BATCH_SIZE: Final = hyperparameter("batch_size", "Images in each step, 1 to 60000.")
LEARNING_RATE: Final = hyperparameter("learning_rate", "Size of each step, over 0.")
MOMENTUM: Final = hyperparameter("momentum", "Share of the last step in the next, 0 to under 1.")
SEED: Final = hyperparameter(
    "seed", "Seed of all random numbers: the same seed gives the same weights.", "random"
)
DEVICE: Final = hyperparameter(
    "device", "Where to train: auto, cpu, cuda, cuda:N or mps.", "the service's MYNET_TRAIN_DEVICE"
)
INCLUDE_FEEDBACK: Final = flag("--include-feedback", "Train with the corrections, too.")
INIT: Final = hyperparameter(
    "init",
    "Weights to begin with: the number of a version, or JOB:EPOCH for a checkpoint.",
    "random",
)
KEEP_CHECKPOINTS: Final = flag(
    "--keep-checkpoints", "Keep the weights of each epoch: `mynet checkpoints`."
)
VALIDATION_FRACTION: Final = hyperparameter(
    "validation_fraction", "Share of the training images to hold out for validation, under 0.5."
)
EARLY_STOPPING: Final = typer.Option(
    "--early-stopping",
    help="Stop after so many epochs without a lower validation loss. The best epoch is the result.",
    show_default="off",
)
MIN_DELTA: Final = typer.Option(
    help="With --early-stopping: a loss counts as lower by more than this.", show_default="0"
)
MAX_SECONDS: Final = hyperparameter(
    "max_seconds", "Time of the epochs after which the training ends in order.", "none"
)
DRY_RUN: Final = flag("--dry-run", "Check everything, print the plan, and queue nothing.")
DATASETS: Final = typer.Option(
    "--dataset",
    help="Name or id of a data set to train with; several times for several.",
    show_default="mnist",
)
TEST_DATASET: Final = hyperparameter(
    "test_dataset", "Name or id of the data set that the version is measured on."
)
NOTE: Final = hyperparameter("note", "Text to store with the version.", "none")


def checked(model: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were set, if `model` accepts them; else exit with what is wrong."""
    from pydantic import ValidationError

    from app.cli import context

    values = {name: value for name, value in options.items() if value is not None}
    try:
        model(**values)
    except ValidationError as error:
        raise context.failure(context.describe_invalid(error.errors())) from None
    return values
