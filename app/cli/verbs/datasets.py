"""`mynet datasets`: labelled images to train and to test with."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import context, options
from app.cli.backend import Fields
from app.cli.groups import ListByDefault, Verbs
from app.cli.opening import open_backend
from app.cli.options import ApiKey, AsJson, Limit, Url

app = Verbs(
    cls=ListByDefault,
    help="List, show, upload or delete data sets: labelled images. Train with them: "
    "mynet train --dataset mnist --dataset NAME.",
)
Reference = Annotated[str, typer.Argument(metavar="DATASET", help="Name or id of a data set.")]
COLUMNS = ("id", "name", "images", "made (UTC)")
IMAGE_COLUMNS = ("image", "label")
MAX_LINES = 20


@app.command("list")
def show_all(
    after: Annotated[str | None, options.after("data set", "the next")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List data sets: MNIST, the corrections, then the uploaded ones, oldest first."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        page = backend.datasets(after, limit)
    output.print_page(
        page, COLUMNS, _row, empty="No more data sets.", verb="mynet datasets", as_json=as_json
    )


def _row(dataset: Fields) -> tuple[str, ...]:
    from app.cli import output

    images = "" if dataset["images"] is None else str(dataset["images"])
    return dataset["id"], dataset["name"], images, output.time(dataset["created_at"])


@app.command()
def show(
    dataset: Reference, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Show a data set: images by label, rejected images, and suspect labels."""
    with open_backend(url, api_key) as backend:
        found = backend.dataset(dataset)
    _print(found, as_json=as_json)


@app.command()
def images(
    dataset: Reference,
    label: Annotated[
        int | None,
        typer.Option(min=0, max=9, help="Only images with this label.", show_default="all"),
    ] = None,
    after: Annotated[str | None, options.after("image", "the next")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List the images of a data set with their labels. With --json, they are PNG data URLs, too."""
    from app.cli import output

    with open_backend(url, api_key) as backend:
        page = backend.dataset_images(dataset, label, after, limit)
    verb = f"mynet datasets images {dataset}" + ("" if label is None else f" --label {label}")
    empty = "No more images." if after else "No images."
    output.print_page(page, IMAGE_COLUMNS, _image_row, empty=empty, verb=verb, as_json=as_json)


def _image_row(image: Fields) -> tuple[str, ...]:
    return image["id"], str(image["label"]) if image["is_digit"] else "no digit"


@app.command()
def upload(
    path: Annotated[
        Path,
        typer.Argument(exists=True, help="A folder with the folders 0 to 9, a zip, .npz or CSV."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Its name.", show_default="that of the file or folder")
    ] = None,
    transposed: Annotated[
        bool,
        options.flag("--transposed", "Swap rows and columns of numbers, as EMNIST needs it."),
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Store labelled images as a data set."""
    name = _checked_name(name, path)
    with open_backend(url, api_key) as backend:
        dataset = backend.upload_dataset(path, name, transposed=transposed)
    _print(dataset, as_json=as_json)


def _checked_name(name: str | None, path: Path) -> str:
    """Return the name of the new data set: `name`, or that of the file or folder without one."""
    from app.datasets.records import check_name
    from app.errors import InvalidField

    new_name = path.resolve().stem if name is None else name
    try:
        check_name(new_name)
    except InvalidField as error:
        if name is not None:
            raise context.failure(context.describe(error)) from None
        problem = error.errors[0].message
        origin = f"The name of {str(path)!r}"
        raise context.failure(f"{origin}: {problem}. Send it with --name.") from None
    return new_name


@app.command()
def delete(dataset: Reference, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a data set. Versions that were trained with it stay as they are."""
    with open_backend(url, api_key) as backend:
        backend.delete_dataset(dataset)
    typer.echo(f"Data set {dataset} is deleted.")


def _print(dataset: Fields, *, as_json: bool) -> None:
    from app.cli import output

    if as_json:
        return output.print_json(dataset)
    labels = dataset["labels"] or {}
    output.print_fields(
        {
            "id": dataset["id"],
            "name": dataset["name"],
            "images": "" if dataset["images"] is None else str(dataset["images"]),
            "by label": "  ".join(f"{label}: {images}" for label, images in labels.items()),
            "no digit": str(dataset["non_digits"] or ""),
            "digest": dataset["digest"],
            "rejected": str(dataset["rejected_images"]),
            "suspect": str(dataset["suspect_images"]),
        }
    )
    for image in dataset["rejected"][:MAX_LINES]:
        typer.echo(f"rejected: {ascii(image['name'])[1:-1]}: {image['code']}")
    for image in dataset["suspect"][:MAX_LINES]:
        share = output.percent(image["confidence"])
        typer.echo(
            f"suspect: {ascii(image['name'])[1:-1]} is labelled {image['label']}, and read as "
            f"{image['digit']} ({share})"
        )
