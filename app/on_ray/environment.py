"""What replicas and trainings have to be told, wherever they are: where traces and trackers are,
and that no GPU is theirs but what Ray gives them.

What enters: this process's environment. What leaves: its part of theirs.
"""

import os
from typing import Final

INHERITED_PREFIXES: Final = ("OTEL_", "MLFLOW_")
# Else whom Ray gave no GPU would see all of them, and `auto` take one that is another's.
HIDE_UNASSIGNED_GPUS: Final = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}


def inherited_environment() -> dict[str, str]:
    """Return the variables of this process that are theirs, too."""
    return {
        name: value for name, value in os.environ.items() if name.startswith(INHERITED_PREFIXES)
    }
