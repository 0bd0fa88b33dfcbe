"""`python -m bench.peers.mosec_peer PORT`: mosec, a front in Rust before one worker with batches.

The body is the image. The worker decodes in `forward`; what is no image raises mosec's own
`ValidationError`, as its examples do, and that is the answer to the whole batch.
"""

import sys
from collections.abc import Sequence
from typing import Any

from mosec import Server, ValidationError, Worker

from tests.rigs.load.reference import decode, load_bundled, predict_batch


class Digits(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.net = load_bundled()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: Sequence[bytes]) -> list[dict[str, Any]]:
        try:
            images = [decode(upload) for upload in data]
        except OSError as error:
            raise ValidationError(f"cannot decode as image data: {error}") from error
        return predict_batch(self.net, images)


if __name__ == "__main__":
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", sys.argv[1], "--log-level", "warning"]
    server = Server()
    server.append_worker(Digits, max_batch_size=64, max_wait_time=1, route="/predict")
    server.run()
