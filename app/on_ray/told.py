"""What replicas and trainings have to be told, wherever they are: where traces and trackers are.

What enters: this process's environment. What leaves: its part of theirs.
"""

import os
from typing import Final

TOLD: Final = ("OTEL_", "MLFLOW_")


def told() -> dict[str, str]:
    """Give the variables of this process that are theirs, too."""
    return {name: value for name, value in os.environ.items() if name.startswith(TOLD)}
