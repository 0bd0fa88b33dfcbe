"""The jobs of `tests/train`, for the tests of their MLflow runs."""

from tests.train.conftest import few, start

__all__ = ["few", "start"]
