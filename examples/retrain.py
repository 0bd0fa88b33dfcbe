"""Retraining from a folder of corrected images.

    python examples/retrain.py corrections

The folder has a subfolder for each digit: `corrections/7/photo.jpg` shows a 7. Images in the
subfolder `not_a_digit` show none; only the recipe `robust` learns from these. The script sends each
image as a correction, starts a training with MNIST and all corrections of the service, and
follows it. If the new version is better than the live one, it goes live.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mynet_client import ApiError, Client, Job, MyNetError

# Conflict with an earlier label, too large, not an image, blank: the other images may be sound.
IMAGE_ERRORS = (409, 413, 415, 422)
LABELS: dict[str, int | None] = {**{str(label): label for label in range(10)}, "not_a_digit": None}


def labelled_images(folder: Path) -> Iterator[tuple[Path, int | None]]:
    """Yield each image below `folder` with its label, which its subfolder says."""
    for name, label in LABELS.items():
        for path in sorted((folder / name).glob("*")):
            if path.is_file():
                yield path, label


def send_corrections(mynet: Client, folder: Path, *, replace: bool) -> int:
    """Send the images of `folder` as corrections, and return how many the service accepted."""
    accepted = 0
    for path, label in labelled_images(folder):
        try:
            mynet.feedback(path, label, replace=replace)
        except ApiError as error:
            if error.status not in IMAGE_ERRORS:
                raise
            print(f"{path}: {error.detail}")
        else:
            accepted += 1
    return accepted


def train(mynet: Client, arguments: argparse.Namespace) -> Job:
    """Start a training with all corrections, print its epochs, and return the finished job."""
    job = mynet.train(
        recipe=arguments.recipe,
        epochs=arguments.epochs,
        promote=arguments.promote,
        include_feedback=True,
        note=f"retrained from {arguments.folder.resolve().name}",
    )
    print(f"Job {job.id}")
    for event in mynet.events(job):  # ends with the job, and survives a restart of the service
        if event.event == "epoch":
            print("epoch {epoch}: test accuracy {test_accuracy:.2%}".format(**event.data))
    return mynet.job(job)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Retrain from a folder of corrected images.")
    parser.add_argument("folder", type=Path, help="has a subfolder of images for each digit")
    parser.add_argument("--url", default=os.environ.get("MYNET_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--api-key", default=os.environ.get("MYNET_API_KEY"))
    parser.add_argument("--replace", action="store_true", help="overwrite labels that differ")
    # The other recipes take seconds, but their networks do not beat the version that is shipped.
    parser.add_argument("--recipe", choices=["documented", "quick", "robust"], default="robust")
    parser.add_argument("--epochs", type=int, help="default: as many as the recipe has")
    parser.add_argument("--promote", choices=["if_better", "always", "never"], default="if_better")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if the job succeeded, whether or not its version went live."""
    parsed = parse(arguments)
    with Client(parsed.url, api_key=parsed.api_key) as mynet:
        accepted = send_corrections(mynet, parsed.folder, replace=parsed.replace)
        print(f"{accepted} corrections sent")
        if not accepted:
            print(
                f"{parsed.folder} has no images in folders named 0 to 9 or not_a_digit.",
                file=sys.stderr,
            )
            return 1
        job = train(mynet, parsed)
    if job.result is None:
        print(f"The job {job.status}: {job.error.message if job.error else ''}", file=sys.stderr)
        return 1
    state = "is live" if job.result.promoted else "is stored, but not live"
    print(f"Version {job.result.version} {state}: {job.result.reason}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MyNetError as error:
        sys.exit(str(error))
