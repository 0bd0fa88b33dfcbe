"""`/datasets`: labelled images to train and to test with."""

from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from app.api import request_body
from app.api.dependencies import (
    Limit,
    RequireTrain,
    ServicesDep,
    add_log_fields,
    disconnect_probe,
)
from app.api.error_responses import (
    ACCESS_ERRORS,
    BODY_ERRORS,
    INVALID_LIMIT,
    Responses,
    Router,
    error_responses,
    invalid_field_example,
    new_resource,
)
from app.api.openapi.examples import DATASET_FORM
from app.api.schemas.datasets import DatasetImages, DatasetPage, NewDataset
from app.api.spooled_upload import spooled_form
from app.datasets.records import Dataset, DatasetSummary
from app.errors import (
    Conflict,
    NotFound,
    NotReady,
    QueueFull,
)

PATH: Final = "/datasets"
router = Router(
    prefix=PATH,
    tags=["datasets"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireTrain],
)
NEW: Final = new_resource("dataset", "get_dataset", "get_dataset_images", "delete_dataset")
EXISTING: Final = {
    "description": "A data set with this name has the same images already",
    "model": Dataset,
}
CREATED: Final[Responses] = {201: NEW, 200: NEW | EXISTING}
FORM: Final = request_body.form_with_file_content(NewDataset, DATASET_FORM)
UPLOAD: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": FORM}}
INVALID_NAME: Final = invalid_field_example("name", "mnist is reserved; send another name")
After = Annotated[str | None, Query(description="id of the last item of the previous page")]
Label = Annotated[int | None, Query(ge=0, le=9, description="the label of the images")]
IsDigit = Annotated[
    bool | None, Query(description="`false` lists the images that show no digit, `true` the others")
]


@router.post(
    "",
    status_code=201,
    summary="Upload a data set",
    operation_id="upload_dataset",
    openapi_extra=UPLOAD,
    responses=CREATED | error_responses(*BODY_ERRORS, Conflict, INVALID_NAME, QueueFull, NotReady),
)
async def upload(request: Request, response: Response, services: ServicesDep) -> Dataset:
    """Upload a zip of folders `0` to `9` with images, or of IDX files; an `.npz` file with `images`
    and `labels`; or a CSV file of 785 columns. Images that cannot be read are listed in `rejected`.
    """
    folder = services.settings.datasets_dir
    async with spooled_form(request, folder, NewDataset) as (file, fields):
        dataset, is_new = await services.dataset_importer.run(
            file,
            fields.name,
            services.live.model,
            disconnect_probe(request.scope),
            transposed=fields.transposed,
        )
    add_log_fields(request, services, dataset_id=dataset.id)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"{PATH}/{dataset.id}"
    return dataset


@router.get(
    "",
    summary="List data sets",
    operation_id="list_datasets",
    responses=error_responses(NotFound, INVALID_LIMIT),
)
def list_datasets(services: ServicesDep, after: After = None, limit: Limit = 100) -> DatasetPage:
    """Return `mnist`, `mnist-test`, `corrections`, and the uploaded ones, oldest first."""
    page, has_more = services.datasets.page(after, limit)
    data = [DatasetSummary.model_validate(dataset.model_dump()) for dataset in page]
    return DatasetPage(data=data, has_more=has_more)


@router.get(
    "/{dataset}",
    summary="Get a data set",
    operation_id="get_dataset",
    responses=error_responses(NotFound),
)
def get_dataset(dataset: str, services: ServicesDep) -> Dataset:
    """`dataset` is an id or a name. The answer lists its rejected and suspect images."""
    return services.datasets.get(dataset)


@router.get(
    "/{dataset}/images",
    summary="List the images of a data set",
    operation_id="get_dataset_images",
    responses=error_responses(NotFound, Conflict, INVALID_LIMIT),
)
def get_images(
    dataset: str,
    services: ServicesDep,
    label: Label = None,
    is_digit: IsDigit = None,
    after: After = None,
    limit: Limit = 100,
) -> DatasetImages:
    """Return one page. `after` is the id of the last image of the previous page."""
    found = services.datasets.get(dataset)
    page, has_more = services.datasets.image_page(found, label, after, limit, is_digit=is_digit)
    return DatasetImages(data=page, has_more=has_more)


@router.delete(
    "/{dataset}",
    status_code=204,
    summary="Delete a data set",
    operation_id="delete_dataset",
    responses=error_responses(NotFound, Conflict),
)
def delete(dataset: str, services: ServicesDep) -> None:
    """Jobs that have not ended keep it. Versions that were trained with it stay as they are."""
    services.datasets.delete(dataset)
