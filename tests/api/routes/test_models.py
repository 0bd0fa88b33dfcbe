import pytest

from app.predict.live_model import LiveModel
from app.predict.model import Model
from app.torch_net import MyNet, weights_of
from app.versions.card import DatasetReference, TrainingData
from app.versions.registry import Registry


@pytest.fixture
def second(settings, client):  # noqa: ARG001, the app adopts the shipped version first
    registry = Registry(settings.models_dir)
    return registry.save(weights_of(MyNet()), registry.card(1))


def test_list_versions_is_short(client, second):
    body = client.get("/models").json()
    assert ([version["version"] for version in body["data"]], body["current"]) == ([1, second], 1)
    card, summary = client.get("/models/1").json(), body["data"][0]
    assert summary == {name: card[name] for name in summary}
    assert {"version", "test_accuracy", "recipe", "created_at", "note", "data"} <= set(summary)
    assert not {"confusion", "epochs", "hyperparameters", "recall"} & set(summary)


def test_version_in_short_has_the_data_sets_of_its_card(settings, client):
    registry = Registry(settings.models_dir)
    forms = DatasetReference(id="4b7c0e2d9f1a6835", name="forms", digest="77ab", images=12)
    data = TrainingData(train=[forms], test=forms)
    registry.save(weights_of(MyNet()), registry.card(1).model_copy(update={"data": data}))
    shipped, own = client.get("/models").json()["data"]
    assert (shipped["data"], own["data"]) == (None, data.model_dump())


def test_list_versions_full_has_the_cards(client, second):
    body = client.get("/models?full=true").json()
    assert ([card["version"] for card in body["data"]], body["current"]) == ([1, second], 1)
    card = client.get("/models/1").json()
    assert card == body["data"][0]
    assert {"test_accuracy", "recall", "confusion", "hyperparameters", "weights_digest"} <= set(
        card
    )


def test_a_version_goes_live_and_back(client, second, seven):
    answer = client.put("/models/current", json={"version": second})
    assert (answer.status_code, answer.json()["version"]) == (200, second)
    assert client.post("/predict", content=seven).json()["version"] == second
    assert client.get("/health/ready").json()["version"] == second
    assert client.get("/models").json()["previous"] == 1
    assert client.post("/models/rollback").json()["version"] == 1
    assert client.get("/models").json()["previous"] is None
    assert client.post("/predict", content=seven).json()["version"] == 1


@pytest.mark.parametrize("is_rollback", [False, True])
def test_change_of_a_version_that_is_deleted_at_once_answers_its_card(
    client, settings, second, monkeypatch, is_rollback
):
    registry, real = Registry(settings.models_dir), LiveModel._swap

    def swap_before_a_deletion(live, model):
        real(live, model)
        registry.file(model.version).unlink()

    if is_rollback:
        for version in (second, 1):
            assert client.put("/models/current", json={"version": version}).status_code == 200
    monkeypatch.setattr(LiveModel, "_swap", swap_before_a_deletion)
    answer = (
        client.post("/models/rollback")
        if is_rollback
        else client.put("/models/current", json={"version": second})
    )
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["version"]) == (200, second)


@pytest.mark.read_only
def test_there_may_be_nothing_to_go_back_to(client):
    answer = client.post("/models/rollback")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_broken_version_cannot_go_live(client, settings, second, seven):
    (settings.models_dir / f"{second}.safetensors").write_bytes(b"broken")
    answer = client.put("/models/current", json={"version": second})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert client.post("/predict", content=seven).json()["version"] == 1


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("version", "status"), [("9", 404), ("9" * 300, 404), ("x", 404), ("9" * 5000, 404)]
)
def test_an_unknown_version_is_refused(client, version, status):
    assert client.get(f"/models/{version}").status_code == status
    assert client.delete(f"/models/{version}").status_code == status


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("body", "status"),
    [('{"version": 9}', 404), ('{"version": "1"}', 422), ("{}", 422), ("", 422), ("x", 400)],
)
def test_a_bad_promotion_is_refused(client, body, status):
    assert client.put("/models/current", content=body).status_code == status


def test_a_deleted_version_is_gone_at_once_and_its_number_too(client, settings, second, seven):
    path = f"/predict?version={second}"
    assert client.post(path, content=seven).json()["version"] == second
    deleted = client.delete(f"/models/{second}")
    assert deleted.status_code == 204
    assert "content-type" not in deleted.headers
    assert client.post(path, content=seven).status_code == 404
    assert client.get(f"/models/{second}").status_code == 404
    assert client.delete(f"/models/{second}").status_code == 404
    registry = Registry(settings.models_dir)
    assert registry.save(weights_of(MyNet()), registry.card(1)) == second + 1


def test_what_another_process_deletes_answers_no_more(client, settings, second, seven):
    client.put("/models/current", json={"version": second})
    assert client.post("/predict?version=1", content=seven).json()["version"] == 1
    Registry(settings.models_dir).delete(1)
    answer = client.post("/predict?version=1", content=seven)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.post("/models/rollback").status_code == 409


@pytest.mark.read_only
def test_the_live_version_cannot_be_deleted(client, seven):
    answer = client.delete("/models/1")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "live" in answer.json()["detail"]
    assert client.post("/predict", content=seven).json()["version"] == 1


def test_a_version_that_does_not_answer_cannot_go_live(client, settings, second, monkeypatch):
    def full(*_):
        raise RuntimeError("CUDA out of memory")

    registry = Registry(settings.models_dir)
    third = registry.save(weights_of(MyNet()), registry.card(1))
    client.put("/models/current", json={"version": second})
    monkeypatch.setattr(Model, "answer", full)
    for answer in (
        client.put("/models/current", json={"version": third}),
        client.post("/models/rollback"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "failed its test prediction: CUDA out of memory" in answer.json()["detail"]
    assert client.get("/models").json()["current"] == second
