"""`python -m bench.peers.robyn_peer PORT`: Robyn, a server in Rust that calls a Python function.

One process, and one forward for each request, as in `naive`.
"""

import sys
from typing import Any

from robyn import Request, Robyn

from tests.rigs.load.reference import decode, load_bundled, predict_batch

app = Robyn(__file__)
net = load_bundled()


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    (upload,) = request.files.values()
    (answer,) = predict_batch(net, [decode(upload)])
    return answer


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(sys.argv[1]))
