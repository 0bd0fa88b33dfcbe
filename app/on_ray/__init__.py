"""The same app on Ray (an extra): `serving` under Ray Serve, `training` under Ray Train."""

from app.on_ray.serving import app, run

__all__ = ["app", "run"]
