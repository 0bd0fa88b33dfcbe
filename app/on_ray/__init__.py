"""Ray integration (an extra): `serving` for Ray Serve, `training` for Ray Train.

Serve's own commands import `app.on_ray:app`. The attribute is loaded only then: training needs
nothing of Serve, whose import takes as long as PyTorch's.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.on_ray.serving import app

    return app
