"""The jobs of `tests/train`, for the tests of their MLflow runs."""

from tests.train.conftest import checkpoints, small_dataset, start

__all__ = ["checkpoints", "small_dataset", "start"]
