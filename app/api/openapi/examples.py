"""Example request and response bodies of the OpenAPI document, built from the pydantic models."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api.error_responses import REQUEST_ID
from app.api.request_body import ImageBody
from app.api.schemas import protocols, resources
from app.errors import BlankImage
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.job import Status
from app.train.jobs.sweep_grid import Grid
from app.versions.card import Card, EpochRecord

READ_BY_ROUTES: Final[list[tuple[type[BaseModel], JsonSchemaMode]]] = [
    (ImageBody, "validation"),
    (Hyperparameters, "validation"),
    (Grid, "validation"),
    (resources.Promotion, "validation"),
    (protocols.V1Instances, "validation"),
    (protocols.V2Inference, "validation"),
    (protocols.Failure, "serialization"),
    (resources.Streamed, "serialization"),
]
JOB: Final = "2f1c9d7a60b3e845"
CREATED_AT: Final = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
# The first MNIST test image, in two tones.
SEVEN: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQAAAABaduI5AAAASElEQVR42oXNoRGAMABD0d"
    "cgQKGRjMJmrNZRGAGJ6B0IiiYi90Xuh/+UiuG+KHuDRSCdNuGEQ94qhCrvciRuYiJmn2AlWv95ALbmCm+eCH3DAAAAAElF"
    "TkSuQmCC"
)
PREDICTION: Final = resources.Prediction(
    id="9c1185a5c5e9fc54",
    digit=7,
    confidence=0.991,
    probabilities=[0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0, 0.991, 0.001, 0.002],
    is_digit=True,
    version=2,
)
PROBLEM: Final = resources.Problem(
    type="about:blank",
    title=BlankImage.title,
    status=BlankImage.status,
    detail=BlankImage.summary(),
    code=BlankImage.code,
    request_id=REQUEST_ID,
)
EPOCH: Final = EpochRecord(
    epoch=0, train_loss=0.817, test_loss=0.304, test_accuracy=0.9098, seconds=1.71
)
RESULT: Final = resources.Result(
    version=3, test_accuracy=0.9098, promoted=False, reason="the promotion rule is never"
)
TRAINING: Final = resources.Job(
    id=JOB,
    status=Status.SUCCEEDED,
    created_at=CREATED_AT,
    started_at=CREATED_AT + timedelta(seconds=1),
    finished_at=CREATED_AT + timedelta(seconds=6),
    hyperparameters=resources.JobHyperparameters(epochs=1, seed=1998, promote="never"),
    attempt=1,
    progress=resources.Progress(epoch=0, epochs=1, batch=600, batches=600, fraction=1.0, eta=0.0),
    epochs=[EPOCH],
    result=RESULT,
    error=None,
    sweep=None,
)
SWEEP_JOBS: Final = [
    resources.SweepJob(
        id=JOB,
        hyperparameters={"learning_rate": learning_rate},
        status=Status.SUCCEEDED,
        fraction=1.0,
        test_accuracy=accuracy,
        version=version,
    )
    for version, learning_rate, accuracy in ((3, 0.01, 0.9098), (4, 0.03, 0.9412))
]
SWEEP: Final = resources.Sweep(
    id="c04d1f6b7e2a9853",
    name="learning rate",
    status="succeeded",
    created_at=CREATED_AT,
    finished_at=CREATED_AT + timedelta(seconds=15),
    hyperparameters={
        "name": "learning rate",
        "learning_rate": [0.01, 0.03],
        "epochs": 1,
        "seed": 1998,
    },
    jobs=SWEEP_JOBS,
    best=resources.BestJob(**SWEEP_JOBS[1].model_dump(), test_loss=0.1951),
    error=None,
)
EVENT_EXAMPLES: Final[list[dict[str, Any]]] = [
    {"event": "status", "data": {"status": "running", "attempt": 1}},
    {"event": "batch", "data": {"epoch": 0, "batch": 100, "loss": 1.97}},
    {"event": "epoch", "data": EPOCH.model_dump()},
    {"event": "result", "data": RESULT.model_dump()},
    {"event": "status", "data": {"status": "succeeded"}},
]
EVENTS: Final = resources.Events.model_validate(
    {
        "data": [
            {"number": number, "kind": event["event"], "at": CREATED_AT, "data": event["data"]}
            for number, event in enumerate(EVENT_EXAMPLES, 1)
        ],
        "has_more": False,
    }
)
CORRECTION: Final = resources.Correction(
    id="5d7f0b1c9e3a48260f1b2c3d4e5f6071",
    label=7,
    prediction_id=PREDICTION.id,
    created_at=CREATED_AT,
)
CONFUSION: Final = [[95 if answer == digit else 1 for answer in range(10)] for digit in range(10)]
CARD: Final = Card(
    version=3,
    origin="uploaded",
    created_at=CREATED_AT,
    parent=2,
    note="mine",
    test_accuracy=0.9135,
    test_loss=0.304,
    calibration_error=0.0042,
    confusion=CONFUSION,
    energy_threshold=5.126,
    data_digest="1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
    weights_digest="afb3d6061a3f643a681229297f30e288054d2836cbd2572023691a222d301ceb",
    torch_version="2.15.0",
    code_version="0.1.0",
)
RESPONSE_EXAMPLES: Final[tuple[BaseModel, ...]] = (
    PREDICTION,
    PROBLEM,
    resources.Predictions(predictions=[PREDICTION, resources.Refused(error=PROBLEM)], version=2),
    TRAINING,
    resources.Jobs(data=[TRAINING], has_more=False),
    SWEEP,
    resources.Sweeps(data=[SWEEP], has_more=False),
    EVENTS,
    CORRECTION,
    resources.Corrections(data=[CORRECTION], has_more=False),
    CARD,
    resources.Versions(data=[CARD], current=2),
    protocols.V1Predictions(predictions=[PREDICTION]),
)
REQUEST_EXAMPLES: Final[dict[str, list[Any]]] = {
    "ImageBody": [{"image": SEVEN}],
    "Hyperparameters": [
        {},
        {"epochs": 3, "seed": 7, "promote": "always"},
        {"recipe": "robust", "note": "for real handwriting"},
    ],
    "Grid": [{"learning_rate": [0.003, 0.01, 0.03], "seed": [1, 2]}, {"epochs": [5, 10]}],
    "Promotion": [{"version": 1}],
    "V1Instances": [{"instances": [SEVEN, {"b64": SEVEN.partition(",")[2]}]}],
    "V2Inference": [
        {
            "id": "mine",
            "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [SEVEN]}],
            "outputs": [{"name": "digit"}],
        }
    ],
}


def read_by_routes() -> dict[str, Any]:
    """Return the schemas of bodies that routes parse themselves: FastAPI does not see these."""
    _, schema = models_json_schema(READ_BY_ROUTES, ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def examples_by_schema() -> dict[str, list[Any]]:
    """Return examples by schema name."""
    responses = {
        type(model).__name__: [model.model_dump(mode="json", exclude_unset=True, by_alias=False)]
        for model in RESPONSE_EXAMPLES
    }
    return responses | REQUEST_EXAMPLES
