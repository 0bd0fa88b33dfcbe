"""Faults that damage the files of versions, and the file that names the live one.

They have the form of those in `tests.rigs.chaos.faults`.
"""

import time
from collections.abc import Callable

from tests.rigs.chaos.target import Scene

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


def live_weights(corrupt: Callable[[bytes], bytes]) -> Fault:
    """The live version's file is damaged, and the service is started again."""

    def fault(scene: Scene) -> int:
        path = scene.state / "models" / "3.safetensors"
        original = path.read_bytes()
        path.write_bytes(corrupt(original))
        time.sleep(1)
        scene.service.end()
        scene.start()
        live_version = scene.ask("GET", "/health/ready").body["version"]
        path.write_bytes(original)
        scene.ask("PUT", "/models/current", b'{"version": 3}')
        return live_version != 2  # which was live before

    return fault


def other_weights(corrupt: Callable[[bytes], bytes]) -> Fault:
    """A version's file is damaged that is not live: it is not to be had in any way."""

    def fault(scene: Scene) -> int:
        path = scene.state / "models" / "1.safetensors"
        original = path.read_bytes()
        path.write_bytes(corrupt(original))
        responses = [
            scene.ask("PUT", "/models/current", b'{"version": 1}'),
            scene.ask("GET", "/models/1/weights"),
            scene.ask("POST", "/predict?version=1", scene.reference.uploads[0]),
        ]
        path.write_bytes(original)
        return sum(response.status != 409 for response in responses)

    return fault


def flip_bit(content: bytes) -> bytes:
    return content[:-5000] + bytes([content[-5000] ^ 1]) + content[-4999:]
