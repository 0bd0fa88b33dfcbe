"""The same app on Ray (an extra): `serving` under Ray Serve, `training` under Ray Train.

Serve's own commands import `app.on_ray:app`. It is looked up only then: a training needs nothing of
Serve, whose import takes as long as PyTorch's.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.on_ray.serving import app

    return app
