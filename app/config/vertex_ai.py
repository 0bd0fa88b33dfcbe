"""Settings from Vertex AI's `AIP_*` variables; `MYNET_*` variables take precedence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLES: Final = {
    "port": "AIP_HTTP_PORT",
    "health_route": "AIP_HEALTH_ROUTE",
    "predict_route": "AIP_PREDICT_ROUTE",
    "checkpoint": "AIP_STORAGE_URI",
}
SUFFIXES: Final = (".safetensors", ".pt")


def defaults(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the platform. Raises ValueError unless there is one checkpoint."""
    values = {name: environment.get(variable, "") for name, variable in VARIABLES.items()}
    values["checkpoint"] = _checkpoint(values["checkpoint"])
    return {name: value for name, value in values.items() if value}


def _checkpoint(uri: str) -> str:
    """Return the file, or an empty string if the URI is not a local path (`gs://…`)."""
    place = uri.removeprefix("file://")
    if "://" in place:
        return ""
    folder = Path(place)
    if not place or not folder.is_dir():
        return place
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise ValueError(
            f"AIP_STORAGE_URI={uri} must contain exactly one checkpoint. It contains: {found}."
        )
    return str(files[0])
