"""Example request and response bodies of the OpenAPI document, built from the pydantic models."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api.error_responses import REQUEST_ID
from app.api.request_body import ImageBody
from app.api.schemas import (
    datasets,
    feedback,
    health,
    keys,
    predictions,
    protocols,
    resources,
    training,
)
from app.api.schemas.messages import JobSummary, WebhookMessage
from app.auth.keys import Scope
from app.datasets import records
from app.errors import BlankImage
from app.mnist.files import TRAIN_COUNTS
from app.train.jobs.hyperparameters import Hyperparameters, TrainRequest
from app.train.jobs.job import Status
from app.train.jobs.sweep_grid import Grid
from app.versions.card import Card, EpochRecord

READ_BY_ROUTES: Final[list[tuple[type[BaseModel], JsonSchemaMode]]] = [
    (ImageBody, "validation"),
    (TrainRequest, "validation"),
    (WebhookMessage, "serialization"),
    (Grid, "validation"),
    (resources.Promotion, "validation"),
    (keys.NewKey, "validation"),
    (keys.Rotation, "validation"),
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
PREDICTION: Final = predictions.Prediction(
    id="9c1185a5c5e9fc54",
    digit=7,
    confidence=0.991,
    probabilities=[0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0, 0.991, 0.001, 0.002],
    is_digit=True,
    reason=None,
    count=1,
    version=2,
)
READING: Final = predictions.Reading(
    id="1b7d04c2e9a6f358",
    text="42\n7",
    lines=[
        predictions.TextLine(
            text="42",
            digits=[
                predictions.ReadDigit(
                    digit=4, confidence=0.998, is_digit=True, box=(84, 60, 163, 171)
                ),
                predictions.ReadDigit(
                    digit=2, confidence=0.999, is_digit=True, box=(212, 62, 305, 170)
                ),
            ],
        ),
        predictions.TextLine(
            text="7",
            digits=[
                predictions.ReadDigit(
                    digit=7, confidence=0.993, is_digit=True, box=(90, 230, 171, 344)
                )
            ],
        ),
    ],
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
    version=3,
    test_accuracy=0.9098,
    promoted=False,
    cause="never",
    reason="the promotion rule is never",
    explanation="Version 3 did not go live, as the job's rule is never to make it live.",
    next=[
        training.NextAction(
            action="promote", method="PUT", path="/models/current", body={"version": 3}
        )
    ],
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
DRY_RUN: Final = training.DryRun(
    hyperparameters=Hyperparameters(epochs=50),
    images={str(digit): count for digit, count in enumerate(TRAIN_COUNTS)},
    non_digits=0,
    validation_images=0,
    steps=30_000,
    jobs_ahead=1,
    estimated_seconds=85.5,
)
MESSAGE: Final = WebhookMessage(
    type="job.succeeded",
    timestamp=CREATED_AT + timedelta(seconds=6),
    data=JobSummary(**TRAINING.model_dump(include=set(JobSummary.model_fields))),
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
    {"event": "phase", "data": {"name": "drawing", "done": 12_000, "total": 36_000}},
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
CORRECTION: Final = feedback.Correction(
    id="5d7f0b1c9e3a48260f1b2c3d4e5f6071",
    label=7,
    is_digit=True,
    prediction_id=PREDICTION.id,
    created_at=CREATED_AT,
)
DATASET: Final = records.Dataset(
    id="4b7c0e2d9f1a6835",
    name="forms",
    digest="77ab3b1b0b6a5c0c2a4f2e2f6ab7b0a0b3f2f0f9a3c1d5e7f9b1d3e5f7092b4d",
    images=1998,
    labels={str(label): 200 - (label in (3, 7)) for label in range(10)},
    created_at=CREATED_AT,
    version=2,
    rejected=[records.RejectedImage(name="forms/1/scan.pdf", code="not_an_image")],
    rejected_images=1,
    suspect=[
        records.SuspectImage(id="611", name="forms/3/0012.jpg", label=3, digit=8, confidence=0.998)
    ],
    suspect_images=1,
)
# A 1, as a row of CSV: its label, then a stroke of two columns.
STROKE: Final = [
    255 * (4 <= row < 24 and column in (13, 14)) for row in range(28) for column in range(28)
]
DATASET_FORM: Final = {
    "csv": {
        "summary": "A CSV file with one image, a 1",
        "value": {"file": ",".join(map(str, [1, *STROKE])), "name": "ones"},
    }
}
READY: Final = health.Ready(
    status="ready",
    version=2,
    device="cpu",
    lost=None,
    decoders=2,
    images={"answered": 120, "not_an_image": 1},
    retraining=health.Retraining(new=12, after=50),
)
API_KEY: Final = keys.ApiKey(
    id="5e1d0c7a92bf",
    name="ci",
    scopes=[Scope.TRAIN],
    created_at=CREATED_AT,
    expires_at=None,
    revoked_at=None,
    last_used=CREATED_AT,
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
    predictions.LayerActivations(layer="fc1", maximum=3.306, values=[0, 41, 0, 255]),
    READING,
    PROBLEM,
    predictions.Predictions(
        predictions=[PREDICTION, predictions.Refused(error=PROBLEM)], version=2
    ),
    TRAINING,
    DRY_RUN,
    training.CheckpointList(data=[training.Checkpoint(**EPOCH.model_dump(), bytes=1_389_400)]),
    MESSAGE,
    resources.Jobs(data=[TRAINING], has_more=False),
    SWEEP,
    resources.Sweeps(data=[SWEEP], has_more=False),
    EVENTS,
    CORRECTION,
    feedback.Corrections(data=[CORRECTION], has_more=False),
    DATASET,
    datasets.DatasetPage(
        data=[records.DatasetSummary.model_validate(DATASET.model_dump())], has_more=False
    ),
    datasets.DatasetImages(
        data=[records.DatasetImage(id="1400", label=7, image=SEVEN)], has_more=False
    ),
    READY,
    CARD,
    resources.Versions(data=[resources.VersionSummary.model_validate(CARD)], current=2),
    protocols.V1Predictions(predictions=[PREDICTION]),
    API_KEY,
    keys.ApiKeys(data=[API_KEY]),
    keys.NewApiKey(**API_KEY.model_dump(), key=f"mynet_{API_KEY.id}_{'0' * 48}"),
)
REQUEST_EXAMPLES: Final[dict[str, list[Any]]] = {
    "ImageBody": [{"image": SEVEN}],
    "TrainRequest": [
        {},
        {"epochs": 3, "seed": 7, "promote": "always"},
        {"recipe": "quick"},
        {"epochs": 50, "dry_run": True},
        {"init": {"version": 1}, "max_seconds": 60, "keep_checkpoints": True},
        {"validation_fraction": 0.1, "early_stopping": {"patience": 3}},
        {"recipe": "robust", "note": "for real handwriting"},
        {"datasets": ["mnist", DATASET.name], "test_dataset": f"{DATASET.name}-test"},
        {"init": {"job": JOB, "epoch": 0}, "epochs": 5, "learning_rate": 0.001},
        {"webhook": {"url": "https://example.org/hooks", "events": ["succeeded", "failed"]}},
    ],
    "Grid": [{"learning_rate": [0.003, 0.01, 0.03], "seed": [1, 2]}, {"epochs": [5, 10]}],
    "Promotion": [{"version": 1}],
    "NewKey": [{"name": "ci", "scopes": ["predict", "train"], "days": 90}],
    "Rotation": [{}, {"grace_seconds": 3600}],
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
