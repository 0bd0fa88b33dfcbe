"""`python -m bench.peers.bare PORT`: uvicorn without work, the ceiling of any service on it."""

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

ANSWER = b'{"digit": 0}'
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(ANSWER)).encode()),
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, lifespan="off")
