"""A client of MyNet: images and wishes go in, typed answers and exceptions come out.

It knows the HTTP contract, and nothing of the service behind it.
"""

from mynet_client.answers import (
    Card,
    Correction,
    Corrections,
    Epoch,
    Event,
    FieldError,
    Job,
    JobError,
    Jobs,
    Models,
    Normalisation,
    Prediction,
    Predictions,
    Problem,
    Progress,
    Ready,
    Result,
    Sweep,
    SweepJob,
    Sweeps,
)
from mynet_client.asynchronous import AsyncClient
from mynet_client.client import Client
from mynet_client.errors import ApiError, ConnectionFailed, MyNetError

__all__ = [
    "ApiError",
    "AsyncClient",
    "Card",
    "Client",
    "ConnectionFailed",
    "Correction",
    "Corrections",
    "Epoch",
    "Event",
    "FieldError",
    "Job",
    "JobError",
    "Jobs",
    "Models",
    "MyNetError",
    "Normalisation",
    "Prediction",
    "Predictions",
    "Problem",
    "Progress",
    "Ready",
    "Result",
    "Sweep",
    "SweepJob",
    "Sweeps",
]
