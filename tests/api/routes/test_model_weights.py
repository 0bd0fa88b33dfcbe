from io import BytesIO

import onnx
import pytest
import torch

from app.versions import checkpoint
from app.versions.registry import SHIPPED

pytestmark = pytest.mark.read_only

DOCUMENTED = SHIPPED / "documented.safetensors"


def test_weights_are_a_download_with_the_digest_as_etag(client):
    answer = client.get("/models/1/weights")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="mynet-1.safetensors"'
    assert answer.headers["etag"] == f'"{client.get("/models/1").json()["weights_digest"]}"'
    assert answer.headers["content-length"] == str(len(answer.content))


def test_safetensors_brings_its_card_along(client, tmp_path):
    path = tmp_path / "download"
    path.write_bytes(client.get("/models/1/weights?format=safetensors").content)
    shipped = checkpoint.read_card(DOCUMENTED)
    assert checkpoint.read_card(path).weights_digest == shipped.weights_digest


def test_pt_is_what_torch_loads(client):
    answer = client.get("/models/1/weights?format=pt")
    assert answer.headers["content-disposition"] == 'attachment; filename="mynet-1.pt"'
    weights = torch.load(BytesIO(answer.content), weights_only=True)
    assert checkpoint.digest(
        {name: tensor.numpy() for name, tensor in weights.items()}
    ) == answer.headers["etag"].strip('"')


def test_onnx_is_a_model(client):
    answer = client.get("/models/1/weights?format=onnx")
    assert answer.headers["content-disposition"] == 'attachment; filename="mynet-1.onnx"'
    onnx.checker.check_model(onnx.load_model_from_string(answer.content))


@pytest.mark.parametrize("form", ["safetensors", "pt", "onnx"])
def test_head_tells_the_same_without_the_file(client, form):
    path = f"/models/1/weights?format={form}"
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    whole = client.get(path).headers
    for name in ("etag", "content-type", "content-disposition", "content-length"):
        assert head.headers[name] == whole[name]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_client_that_has_the_weights_does_not_get_them_again(client, form):
    etag = client.head("/models/1/weights").headers["etag"]
    headers = {"If-None-Match": form.format(etag)}
    for call in (client.get, client.head):
        answer = call("/models/1/weights", headers=headers)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize("etag", ['"other"', "", "nonsense"])
def test_another_etag_gets_the_file(client, etag):
    assert client.get("/models/1/weights", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/models/1/weights?format=h5", 422, "invalid_field"),
        ("/models/1/weights?format=", 422, "invalid_field"),
        ("/models/77/weights", 404, "not_found"),
        ("/models/x/weights", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_refused(client, path, status, code):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if "format" in path:
        assert answer.json()["errors"][0]["field"] == "format"
        assert "onnx" in answer.json()["detail"]


@pytest.mark.read_only(False)
def test_a_damaged_version_is_told(client, settings):
    (settings.models_dir / "1.safetensors").write_bytes(b"damaged")
    answer = client.get("/models/1/weights")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
