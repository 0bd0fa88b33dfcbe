"""The jobs of `tests/train`, for the tests of their MLflow runs."""

from tests.train.conftest import small_dataset, start

__all__ = ["small_dataset", "start"]
