"""A client of MyNet: images and requests go in, typed answers and exceptions come out.

It knows the HTTP contract, and nothing of the service behind it.
"""

from mynet_client.answers import (
    BestJob,
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

# Deprecated: the names of 0.1, for one release more.
Refusal = ApiError
Unreachable = ConnectionFailed

__all__ = [
    "ApiError",
    "AsyncClient",
    "BestJob",
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
    "Refusal",
    "Result",
    "Sweep",
    "SweepJob",
    "Sweeps",
    "Unreachable",
]
