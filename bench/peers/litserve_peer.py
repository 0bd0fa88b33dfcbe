"""`python -m bench.peers.litserve_peer PORT`: LitServe with batches, one worker.

As its documentation shows: an upload is decoded in `decode_request`, what came is answered together
in `predict`. `fast_queue` is what it recommends from a hundred requests a second on.
"""

import sys
from typing import Any

import litserve
from torch import Tensor

from tests.rigs.load.reference import decode, load_bundled, predict_batch


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.net = load_bundled().to(device)

    # LitServe reads the annotation of `request`: without one, it gives the form.
    def decode_request(self, request) -> Tensor:  # type: ignore[no-untyped-def]
        return decode(request["file"].file.read())

    def predict(self, batch: Tensor) -> list[dict[str, Any]]:
        return predict_batch(self.net, list(batch))

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Digits(max_batch_size=32, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
