"""Clients that are generated from the OpenAPI document predict.

Packages of node are installed into a temporary folder.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SEVEN = Path(__file__).parents[2] / "docs/images/seven.jpg"
GENERATOR = Path(sys.executable).with_name("openapi-python-client")
NPM = shutil.which("npm")
PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
STRICT = ("--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck")
SCRIPT = """
import base64, io, sys
from pathlib import Path
from generated import Client
from generated.api.predict import predict, predict_batch
from generated.api.train import create_job, cancel_job, list_jobs
from generated.models import (
    Hyperparameters, ImageBody, PredictBatchBody, PredictFilesBody, Problem
)
from generated.types import File

url, path = sys.argv[1:]
image = Path(path).read_bytes()
client = Client(base_url=url)
forms = (
    PredictFilesBody(file=File(io.BytesIO(image), "seven.jpg", "image/jpeg")),
    PredictFilesBody(file=File(io.BytesIO(image))),
    ImageBody(image=base64.b64encode(image).decode()),
    File(io.BytesIO(image)),
)
for form in forms:
    assert predict.sync(client=client, body=form).digit == 7, form
batch = PredictBatchBody(files=[File(io.BytesIO(image)), File(io.BytesIO(image))])
predictions = predict_batch.sync(client=client, body=batch).predictions
assert [prediction.digit for prediction in predictions] == [7, 7]
refusal = predict.sync(client=client, body=ImageBody(image="eA=="))
assert isinstance(refusal, Problem) and refusal.code == "not_an_image", refusal
job = create_job.sync(client=client, body=Hyperparameters(epochs=1000))
assert job.hyperparameters.epochs == 1000
assert cancel_job.sync(job.id, client=client).status == "cancelled"
assert [each.id for each in list_jobs.sync(client=client).data] == [job.id]
"""
TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { argv: string[] };
const [, , baseUrl, image] = process.argv;
const client = createClient<paths>({ baseUrl });
const right = await client.POST("/predict", { body: { image } });
const wrong = await client.POST("/predict", { body: { image: "eA==" } });
const digit: number | undefined = right.data?.digit;
const code: string | undefined = wrong.error?.code;
console.log(digit, code);
"""


@pytest.fixture
def document(service, tmp_path):
    path = tmp_path / "openapi.json"
    path.write_text(service.text("/openapi.json"))
    return path


def test_a_generated_python_client_predicts(address, document, tmp_path):
    target = tmp_path / "generated"
    command = [GENERATOR, "generate", "--path", document, "--output-path", target]
    subprocess.run([*command, "--meta", "none"], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run([sys.executable, "-c", SCRIPT, address, SEVEN], tmp_path, env=environment)


@pytest.mark.skipif(NPM is None, reason="npm is not in the path")
def test_a_generated_typescript_client_predicts(address, document, tmp_path):
    (tmp_path / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    (tmp_path / "predict.ts").write_text(TYPESCRIPT)
    run([NPM, "install", "--no-audit", "--no-fund", "--silent", *PACKAGES], tmp_path)
    tools = tmp_path / "node_modules/.bin"
    run([tools / "openapi-typescript", document, "-o", tmp_path / "schema.ts"], tmp_path)
    run([tools / "tsc", *STRICT, "predict.ts"], tmp_path)
    image = base64.b64encode(SEVEN.read_bytes())
    assert run(["node", "predict.js", address, image], tmp_path).split() == ["7", "not_an_image"]


def run(command, folder, env=None):
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
