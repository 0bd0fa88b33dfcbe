"""Harm to versions and to the file that says which one is live.

What enters: what becomes of a file. What leaves: faults, as in `bench.faults`.
"""

import time
from collections.abc import Callable

from bench.scene import Scene

Fault = Callable[[Scene], int]


def current(content: bytes | None, *, stopped: bool = False) -> Fault:
    """CURRENT is gone, or says something else: while the service runs, or before it starts."""

    def fault(scene: Scene) -> int:
        path = scene.state / "models" / "CURRENT"
        if stopped:
            scene.service.end()
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        if stopped:
            scene.start()
        time.sleep(1)
        return scene.ask("GET", "/models").body["current"] != 3

    return fault


def live_weights(spoil: Callable[[bytes], bytes]) -> Fault:
    """The live version's file is damaged, and the service is started again."""

    def fault(scene: Scene) -> int:
        path = scene.state / "models" / "3.safetensors"
        whole = path.read_bytes()
        path.write_bytes(spoil(whole))
        time.sleep(1)
        scene.service.end()
        scene.start()
        lives = scene.ask("GET", "/health/ready").body["version"]
        path.write_bytes(whole)
        scene.ask("PUT", "/models/current", b'{"version": 3}')
        return lives != 2  # which was live before

    return fault


def other_weights(spoil: Callable[[bytes], bytes]) -> Fault:
    """A version's file is damaged that is not live: it is not to be had in any way."""

    def fault(scene: Scene) -> int:
        path = scene.state / "models" / "1.safetensors"
        whole = path.read_bytes()
        path.write_bytes(spoil(whole))
        asked = [
            scene.ask("PUT", "/models/current", b'{"version": 1}'),
            scene.ask("GET", "/models/1/weights"),
            scene.ask("POST", "/predict?version=1", scene.known.uploads[0]),
        ]
        path.write_bytes(whole)
        return sum(told.status != 409 for told in asked)

    return fault


def flip(whole: bytes) -> bytes:
    return whole[:-5000] + bytes([whole[-5000] ^ 1]) + whole[-4999:]
