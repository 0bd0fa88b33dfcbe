"""`python -m bench.peers.naive PORT`: FastAPI as most write it, one forward for each request.

What is no image raises: Starlette answers 500, and uvicorn hangs up, whatever comes next.
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from tests.rigs.load.reference import decode, load_bundled, predict_batch

app = FastAPI()
net = load_bundled()


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, Any]:
    (answer,) = predict_batch(net, [decode(await file.read())])
    return answer


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False)
