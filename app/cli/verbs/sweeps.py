"""`mynet sweeps` and `mynet sweep`: groups of jobs that differ in their hyperparameters."""

from typing import Annotated, Any

import typer

from app.cli import options
from app.cli.backend import Fields
from app.cli.groups import ListByDefault, Verbs
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, Limit, SweepId, Url

app = Verbs(
    cls=ListByDefault,
    help="List, start, cancel or delete sweeps. A sweep is a job for each combination of values.",
)
COLUMNS = ("sweep", "status", "made (UTC)", "jobs", "best version", "accuracy", "name")
NAME = typer.Option(help="Name of the sweep, to recognise it.", show_default="none")


@app.command("list")
def show_all(
    after: Annotated[str | None, options.after("sweep")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List sweeps, newest first."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        page = backend.sweeps(after, limit)
    empty = (
        "No older sweeps."
        if after
        else "No sweeps yet. Start one with: mynet sweeps start --learning-rate 0.01 "
        "--learning-rate 0.1"
    )
    output.print_page(page, COLUMNS, _row, empty=empty, verb="mynet sweeps", as_json=as_json)


@app.command()
def start(
    recipe: Annotated[list[str] | None, options.RECIPE] = None,
    epochs: Annotated[list[int] | None, options.EPOCHS] = None,
    batch_size: Annotated[list[int] | None, options.BATCH_SIZE] = None,
    learning_rate: Annotated[list[float] | None, options.LEARNING_RATE] = None,
    momentum: Annotated[list[float] | None, options.MOMENTUM] = None,
    seed: Annotated[list[int] | None, options.SEED] = None,
    device: Annotated[list[str] | None, options.DEVICE] = None,
    include_feedback: Annotated[bool | None, options.INCLUDE_FEEDBACK] = None,
    datasets: Annotated[list[str] | None, options.DATASETS] = None,
    test_dataset: Annotated[str | None, options.TEST_DATASET] = None,
    note: Annotated[str | None, options.NOTE] = None,
    name: Annotated[str | None, NAME] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Queue a job for each combination of values: give an option several times, once a value.

    Example: mynet sweeps start --learning-rate 0.01 --learning-rate 0.1 --epochs 5
    """
    from app.train.jobs.sweep_grid import Grid

    values = {key: value for key, value in locals().items() if key in Grid.model_fields}
    grid = options.checked(
        Grid,
        {key: value if key == "datasets" else _one_or_more(value) for key, value in values.items()},
    )
    with open_backend(url, api_key) as backend:
        sweep = backend.start_sweep(grid)
    _show(sweep, as_json=as_json)


@app.command()
def cancel(
    sweep_id: SweepId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Cancel the jobs of a sweep that have not ended. Versions that exist stay."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        sweep = backend.cancel_sweep(sweep_id)
    if as_json:
        return output.print_json(sweep)
    typer.echo(f"Sweep {sweep['id']} is {sweep['status']}.")


@app.command()
def delete(sweep_id: SweepId, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a finished sweep with its jobs. Their versions stay."""
    with open_backend(url, api_key) as backend:
        backend.delete_sweep(sweep_id)
    typer.echo(f"Sweep {sweep_id} is deleted.")


def show(
    sweep_id: SweepId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Show a sweep: its jobs, and the best of them."""
    with open_backend(url, api_key) as backend:
        sweep = backend.sweep(sweep_id)
    _show(sweep, as_json=as_json)


def _one_or_more(values: Any) -> Any:
    if not isinstance(values, list):
        return values
    return values if len(values) > 1 else next(iter(values), None)


def _row(sweep: Fields) -> tuple[str, ...]:
    from app.cli import output

    best = sweep["best"] or {}
    return (
        sweep["id"],
        sweep["status"],
        output.time(sweep["created_at"]),
        str(len(sweep["jobs"])),
        str(best.get("version", "")),
        output.percent(best.get("test_accuracy")),
        sweep["name"] or "",
    )


def _show(sweep: Fields, *, as_json: bool) -> None:
    from app.cli import output

    if as_json:
        return output.print_json(sweep)
    best = sweep["best"] or {}
    error = sweep["error"]
    output.print_fields(
        {
            "sweep": sweep["id"],
            "name": sweep["name"],
            "status": sweep["status"],
            "made (UTC)": output.time(sweep["created_at"]),
            "ended": output.time(sweep["finished_at"]),
            "error": error["message"] if error else None,
        }
    )
    typer.echo()
    columns = ("job", "hyperparameters", "status", "done", "version", "accuracy", "")
    rows = (_job_row(job, is_best=job["id"] == best.get("id")) for job in sweep["jobs"])
    output.print_table(columns, rows)
    if best and sweep["finished_at"]:
        typer.echo(f"\nMake the best version live with: mynet promote --best-of {sweep['id']}")


def _job_row(job: Fields, *, is_best: bool) -> tuple[str, ...]:
    from app.cli import output

    return (
        job["id"],
        output.pairs(job["hyperparameters"]),
        job["status"],
        f"{100 * job['fraction']:.0f} %",
        str(job["version"] or ""),
        output.percent(job["test_accuracy"]),
        "best" if is_best else "",
    )
