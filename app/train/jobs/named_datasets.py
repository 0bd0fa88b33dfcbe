"""Names of data sets in a request, and the ids that its jobs record."""

from typing import Any, TypeVar

from sqlalchemy.orm import Session

from app.database.datasets import missing_ids
from app.datasets.catalogue import Datasets
from app.datasets.records import BUILT_IN
from app.errors import FieldError, InvalidField, NotFound
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.sweep_grid import Grid

RequestT = TypeVar("RequestT", Hyperparameters, Grid)


def with_ids(request: RequestT, datasets: Datasets) -> RequestT:
    """Return a request whose data sets are ids. Raises InvalidField if one does not exist."""
    changes: dict[str, Any] = {}
    if "datasets" in request.model_fields_set:
        ids: list[str] = [_id("datasets", name, datasets) for name in request.datasets]
        if len({*ids}) < len(ids):
            raise _invalid("datasets", "names a data set twice; name each once")
        changes["datasets"] = ids
    if "test_dataset" in request.model_fields_set:
        changes["test_dataset"] = _id("test_dataset", request.test_dataset, datasets)
    names = changes.get("datasets", request.datasets)
    if changes.get("test_dataset", request.test_dataset) in names:
        message = "is trained with, too; what is trained with cannot be tested on"
        raise _invalid("test_dataset", message)
    return type(request)(**request.model_dump(exclude_unset=True) | changes) if changes else request


def check_stored(request: Hyperparameters | Grid, session: Session) -> None:
    """Raise InvalidField if a data set was deleted since `with_ids` found it.

    Run it in the transaction that queues the job: from then on, the job keeps its data sets.
    """
    uploaded = {*request.datasets, request.test_dataset} - {*BUILT_IN}
    for dataset_id in missing_ids(session, uploaded) if uploaded else ():
        field = "test_dataset" if dataset_id == request.test_dataset else "datasets"
        raise _invalid(field, f"the data set {dataset_id} was deleted")


def _id(field: str, reference: str, datasets: Datasets) -> str:
    try:
        return datasets.get(reference).id
    except NotFound as error:
        raise _invalid(field, error.detail.rstrip(".")) from None


def _invalid(field: str, message: str) -> InvalidField:
    return InvalidField(f"{field}: {message}.", errors=[FieldError(field, message)])
