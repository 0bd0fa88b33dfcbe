"""The progress of a training job: a bar with loss and time left."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.backend import Backend, Fields


def follow(backend: Backend, job_id: str, console: Console) -> Fields:
    """Show a job's progress until it has ended, and return the job."""
    try:
        with _progress(console) as progress:
            bar = JobProgressBar(progress)
            for kind, data in backend.events(job_id):
                bar.on_event(kind, data)
                if kind in ("status", "batch"):
                    job = backend.job(job_id)
                    bar.update(job["status"], job["progress"])
    except KeyboardInterrupt:
        console.print(f"Job {job_id} has not ended. Follow it with: mynet job {job_id} --follow")
        raise
    return backend.job(job_id)


def print_end(console: Console, job: Fields) -> bool:
    """Print how a job ended, and what can be done next. Return whether it succeeded."""
    console.print(outcome(job), markup=False, soft_wrap=True)
    if command := next_command(job):
        console.print(command, markup=False, highlight=False, soft_wrap=True)
    return bool(job["status"] == "succeeded")


def next_command(job: Fields) -> str | None:
    """Return the command that makes the job's version live, unless it went live."""
    result = job["result"]
    if job["status"] != "succeeded" or not result or result["promoted"]:
        return None
    return f"Make it live with: mynet promote {result['version']}"


def outcome(job: Fields) -> str:
    """Return what became of a job: why its version went live or not, or its error."""
    result, error = job["result"], job["error"]
    if job["status"] == "succeeded" and result:
        if result.get("explanation"):
            return str(result["explanation"])
        live = "went live" if result["promoted"] else "did not go live"
        return f"Version {result['version']} {live}: {result['reason']}"
    return f"{job['status']}: {error['message']}" if error else str(job["status"])


def phase_text(phase: Mapping[str, Any]) -> str:
    """Return what a job does, such as `drawing 12,000 of 36,000`."""
    if phase.get("total") is None:
        return str(phase["name"])
    return f"{phase['name']} {phase['done']:,} of {phase['total']:,}"


class JobProgressBar:
    """The bar of one job."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=1.0, left="")

    def on_event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Show the accuracy of an epoch, the loss of a batch, or the phase."""
        if kind == "phase":
            self._progress.update(self._task, description=phase_text(data))
        elif kind == "status" and data["status"] == "running":
            self._progress.update(self._task, description="starting")
        elif kind == "epoch":
            accuracy = 100 * data["test_accuracy"]
            self._progress.print(f"epoch {data['epoch']}: {accuracy:.2f} % of the test images")
        elif kind == "batch":
            description = f"epoch {data['epoch']}, loss {data['loss']:.4f}"
            self._progress.update(self._task, description=description)

    def update(self, status: str, progress: Mapping[str, Any] | None) -> None:
        """Show the job's share that is done, and the time left."""
        if progress:
            left = f"{progress['eta']:.0f} s left"
            self._progress.update(self._task, completed=progress["fraction"], left=left)
        if status != "running":
            self._progress.update(self._task, description=status)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
    )
