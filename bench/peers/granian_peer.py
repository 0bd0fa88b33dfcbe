"""`python -m bench.peers.granian_peer PORT`: the FastAPI app of `naive` on Granian, in Rust."""

import sys

from granian import Granian
from granian.constants import Interfaces

if __name__ == "__main__":
    Granian(
        "bench.peers.naive:app",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
        workers=1,
        log_access=False,
    ).serve()
