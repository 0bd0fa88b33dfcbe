"""What a key may be good for.

What enters and leaves are names. This module does not know who has a key.
"""

from enum import StrEnum


class Scope(StrEnum):
    """One does not hold another, but for `ADMIN`, which holds all."""

    PREDICT = "predict"
    TRAIN = "train"
    ADMIN = "admin"
