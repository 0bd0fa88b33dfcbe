"""Environment variables for Ray processes: tracing, MLflow, and GPU visibility."""

import os
from typing import Final

INHERITED_PREFIXES: Final = ("OTEL_", "MLFLOW_")
# Otherwise a process without a GPU from Ray would see all of them, and `auto` might use one.
HIDE_UNASSIGNED_GPUS: Final = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}


def inherited_environment() -> dict[str, str]:
    """Return the variables of this process that Ray's processes need too."""
    return {
        name: value for name, value in os.environ.items() if name.startswith(INHERITED_PREFIXES)
    }
