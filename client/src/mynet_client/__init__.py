"""Python client for the HTTP API of MyNet, synchronous and asynchronous, fully typed."""

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
from mynet_client.errors import ApiError, ConnectionFailed, MyNetError, NoBestVersion

# Deprecated aliases: the names of version 0.1, kept for one more release.
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
    "NoBestVersion",
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
