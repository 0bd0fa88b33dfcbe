"""`mynet jobs | job | pause | resume | cancel`: training jobs."""

from typing import Annotated, Literal

import typer

from app.cli import context, options
from app.cli.backend import Fields
from app.cli.groups import ListByDefault, Verbs
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, Follow, JobId, Limit, Url, flag

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
COLUMNS = ("job", "status", "made (UTC)", "done", "version", "accuracy", "note")


app = Verbs(cls=ListByDefault, help="List training jobs, or delete one.")


@app.command("list")
def show_all(
    status: Annotated[
        Status | None, typer.Option(help="List only jobs in this state.", show_default="all")
    ] = None,
    after: Annotated[str | None, options.after("job")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List training jobs, newest first."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        page = backend.jobs(status, after, limit)
    nothing = "No jobs yet. Start one with: mynet train"
    empty = f"No {status or 'older'} jobs." if status or after else nothing
    verb = f"mynet jobs --status {status}" if status else "mynet jobs"
    output.print_page(page, COLUMNS, _row, empty=empty, verb=verb, as_json=as_json)


@app.command()
def delete(job_id: JobId, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a job that has ended, with its log. Its version stays."""
    with open_backend(url, api_key) as backend:
        backend.delete_job(job_id)
    typer.echo(f"Job {job_id} is deleted.")


def job(
    job_id: JobId,
    follow: Follow = False,
    log: Annotated[bool, flag("--log", "Print the log, in the tutorial's own lines.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Show a training job: progress, epochs and result. With --follow, exit 1 if it fails."""
    with open_backend(url, api_key) as backend:
        if log:
            for line in backend.log(job_id):
                typer.echo(line)
            return
        fields = backend.job(job_id)
        if follow:
            from app.cli import follow as following

            with backend.supervision():
                fields = following.follow(backend, job_id, context.console(stderr=as_json))
    _show(fields, as_json=as_json)
    raise typer.Exit(1 if follow and fields["status"] != "succeeded" else 0)


def pause(job_id: JobId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Pause a running job. Its state is saved."""
    with open_backend(url, api_key) as backend:
        _confirm(backend.pause(job_id), as_json=as_json)


def resume(job_id: JobId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Queue a paused job again. It continues from its saved state."""
    with open_backend(url, api_key) as backend:
        _confirm(backend.resume(job_id), as_json=as_json)


def cancel(job_id: JobId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Cancel a job that has not ended. It stores no version."""
    with open_backend(url, api_key) as backend:
        _confirm(backend.cancel(job_id), as_json=as_json)


def _confirm(job: Fields, *, as_json: bool) -> None:
    from app.cli import output

    if as_json:
        output.print_json(job)
    else:
        typer.echo(f"Job {job['id']} is {job['status']}.")


def _row(job: Fields) -> tuple[str, ...]:
    from app.cli import output

    result = job["result"] or {}
    return (
        job["id"],
        job["status"],
        output.time(job["created_at"]),
        _done(job),
        str(result.get("version", "")),
        output.percent(result.get("test_accuracy")),
        job["hyperparameters"]["note"] or "",
    )


def _done(job: Fields) -> str:
    """Return the share that is done, or the phase if the job does not train at the moment."""
    from app.cli.follow import phase_text

    phase, progress = job["phase"], job["progress"]
    if phase and phase["name"] != "training":
        return phase_text(phase)
    return f"{100 * progress['fraction']:.0f} %" if progress else ""


def _show(job: Fields, *, as_json: bool) -> None:
    from app.cli import output
    from app.cli.follow import next_command, outcome, phase_text

    if as_json:
        return output.print_json(job)
    hyperparameters = {**job["hyperparameters"], "note": None}  # it has its own line
    output.print_fields(
        {
            "job": job["id"],
            "status": job["status"],
            "made (UTC)": output.time(job["created_at"]),
            "started": output.time(job["started_at"]),
            "ended": output.time(job["finished_at"]),
            "phase": phase_text(job["phase"]) if job["phase"] else None,
            "progress": _progress(job["progress"]),
            "hyperparameters": output.pairs(hyperparameters),
            "note": job["hyperparameters"]["note"],
            "attempt": str(job["attempt"]),
            "sweep": job["sweep"],
            "outcome": outcome(job) if job["finished_at"] else None,
            "figures": (job["result"] or {}).get("reason"),
            "next": next_command(job),
            "webhook": job["webhook"] and job["webhook"]["url"],
            "deliveries": "; ".join(map(_delivery, job["deliveries"])),
        }
    )
    if job["epochs"]:
        typer.echo()
        columns = ("epoch", "train loss", "validation loss", "test loss", "accuracy", "seconds")
        output.print_table(columns, (_epoch_row(epoch) for epoch in job["epochs"]))


def _delivery(delivery: Fields) -> str:
    error = f" ({delivery['last_error']})" if delivery["last_error"] else ""
    return f"{delivery['event']} {delivery['state']}, {delivery['attempts']} attempts{error}"


def _progress(progress: Fields | None) -> str:
    if not progress:
        return ""
    epoch = f"epoch {progress['epoch']} (of {progress['epochs']}, from 0)"
    return f"{100 * progress['fraction']:.0f} %, {epoch}, {progress['eta']:.0f} s left"


def _epoch_row(epoch: Fields) -> tuple[str, ...]:
    return (*epoch_columns(epoch), f"{epoch['seconds']:.1f}")


def epoch_columns(epoch: Fields) -> tuple[str, ...]:
    """Return the number, the losses and the accuracy of an epoch."""
    from app.cli import output

    validation_loss = epoch.get("validation_loss")
    return (
        str(epoch["epoch"]),
        f"{epoch['train_loss']:.4f}",
        "" if validation_loss is None else f"{validation_loss:.4f}",
        f"{epoch['test_loss']:.4f}",
        output.percent(epoch["test_accuracy"]),
    )
