"""Who may ask for what: every route, in every mode, with every kind of key."""

import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from app.api.protocols import cloud
from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.jobs import JobStore
from app.main import ROUTERS, create_app
from app.startup import prepare_registry
from tests.conftest import png

ADMIN_KEY = "the-first-key-of-all"
OPEN, ANY = "open", "any key"
# A form that breaks off: what passes is refused a step later, and nothing is trained or stored.
BROKEN = {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}}
RULES = {
    "GET /": OPEN,
    "GET /docs": OPEN,
    "GET /openapi.json": OPEN,
    "HEAD /openapi.json": OPEN,
    "GET /web/{state}/{name}": OPEN,
    "GET /health/live": OPEN,
    "GET /health/ready": OPEN,
    "GET /aip/health": OPEN,
    "GET /ping": OPEN,
    "GET /v1/models": OPEN,
    "GET /v1/models/mynet": OPEN,
    "GET /v2/health/live": OPEN,
    "GET /v2/health/ready": OPEN,
    "GET /v2/models/mynet/ready": OPEN,
    "GET /v2/models/mynet/versions/{version}/ready": OPEN,
    "GET /metrics": ANY,
    "POST /predict": Scope.PREDICT,
    "POST /read": Scope.PREDICT,
    "POST /predict/batch": Scope.PREDICT,
    "POST /invocations": Scope.PREDICT,
    "POST /aip/predict": Scope.PREDICT,
    "POST /v1/models/mynet:predict": Scope.PREDICT,
    "GET /v2": Scope.PREDICT,
    "GET /v2/models/mynet": Scope.PREDICT,
    "GET /v2/models/mynet/versions/{version}": Scope.PREDICT,
    "POST /v2/models/mynet/infer": Scope.PREDICT,
    "POST /v2/models/mynet/versions/{version}/infer": Scope.PREDICT,
    "POST /feedback": Scope.TRAIN,
    "GET /feedback": Scope.TRAIN,
    "GET /feedback/{correction_id}/image": Scope.TRAIN,
    "DELETE /feedback/{correction_id}": Scope.TRAIN,
    "POST /datasets": Scope.TRAIN,
    "GET /datasets": Scope.TRAIN,
    "GET /datasets/{dataset}": Scope.TRAIN,
    "GET /datasets/{dataset}/images": Scope.TRAIN,
    "DELETE /datasets/{dataset}": Scope.TRAIN,
    "GET /train": Scope.TRAIN,
    "POST /train": Scope.TRAIN,
    "GET /train/{job_id}": Scope.TRAIN,
    "GET /train/{job_id}/log": Scope.TRAIN,
    "GET /train/{job_id}/events": Scope.TRAIN,
    "POST /train/{job_id}/cancel": Scope.TRAIN,
    "POST /train/{job_id}/pause": Scope.TRAIN,
    "POST /train/{job_id}/resume": Scope.TRAIN,
    "DELETE /train/{job_id}": Scope.TRAIN,
    "GET /train/{job_id}/checkpoints": Scope.TRAIN,
    "GET /train/{job_id}/checkpoints/{epoch}": Scope.TRAIN,
    "POST /train/{job_id}/checkpoints/{epoch}": Scope.TRAIN,
    "GET /sweeps": Scope.TRAIN,
    "POST /sweeps": Scope.TRAIN,
    "GET /sweeps/{sweep_id}": Scope.TRAIN,
    "POST /sweeps/{sweep_id}/cancel": Scope.TRAIN,
    "DELETE /sweeps/{sweep_id}": Scope.TRAIN,
    "GET /models": Scope.TRAIN,
    "GET /keys": Scope.ADMIN,
    "POST /keys": Scope.ADMIN,
    "POST /keys/{key_id}/rotate": Scope.ADMIN,
    "DELETE /keys/{key_id}": Scope.ADMIN,
    "GET /models/{version}": Scope.TRAIN,
    "GET /models/{version}/errors": Scope.TRAIN,
    "GET /models/{version}/weights": Scope.TRAIN,
    "POST /models": Scope.ADMIN,
    "PUT /models/current": Scope.ADMIN,
    "POST /models/rollback": Scope.ADMIN,
    "DELETE /models/{version}": Scope.ADMIN,
}


def all_routes(settings):
    """Every method and path of the app: of the routers that are in it, and of itself."""
    routers = [resource.router for resource in ROUTERS] + [cloud.vertex_ai_router(settings)]
    routes = [route for router in routers for route in router.routes]
    app_routes = [
        route for route in create_app(settings).routes if isinstance(route, Route | Mount)
    ]
    for route in routes:
        assert isinstance(route, APIRoute), "another kind of route wants a rule of its own"
    for route in (*routes, *app_routes):
        for method in getattr(route, "methods", ["GET"]):
            yield f"{method} {getattr(route, 'path_format', route.path)}"


@pytest.fixture
def settings(settings):
    routes = {"health_route": "/aip/health", "predict_route": "/aip/predict"}
    return settings.model_copy(update={"admin_key": SecretStr(ADMIN_KEY), **routes})


@pytest.fixture
def keys(settings):
    """A key of every kind, by what it is good for."""
    store = JobStore(Database(settings.effective_database_url))
    key_store = KeyStore(store.database)
    secrets = {str(scope): key_store.create("test", [scope])[1] for scope in Scope}
    revoked, secrets["revoked"] = key_store.create("test", Scope)
    key_store.revoke(revoked.id)
    _, secrets["expired"] = key_store.create("test", Scope, days=-1)
    store.database.close()
    return secrets | {"first": ADMIN_KEY, "unknown": "mynet_0_0", "none": None}


@pytest.fixture
def ask(settings):
    """What asks the service, in a mode, and with a key."""
    clients = []

    def start(auth, **changes):
        changed = settings.model_copy(update={"auth": auth, **changes})
        client = TestClient(create_app(changed), raise_server_exceptions=False)
        clients.append(client.__enter__())

        def ask(route, key, **request):
            method, path = route.split(" ")
            path = path.replace("{version}", "1").replace("{job_id}", "x")
            path = path.replace("{sweep_id}", "x")
            path = path.replace("{correction_id}", "x")
            request = {**BROKEN, **request} if method in ("POST", "PUT") else request
            auth_headers = {"Authorization": f"Bearer {key}"} if key else {}
            headers = {**request.pop("headers", {}), **auth_headers}
            return client.request(method, path, headers=headers, follow_redirects=False, **request)

        ask.client = client
        return ask

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def expected(rule, auth, kind):
    """What the rule makes of this key: None, or the refusal's status."""
    if auth == "none" or rule == OPEN or (auth == "predict" and rule == Scope.PREDICT):
        return None
    if kind in ("none", "unknown", "revoked", "expired"):
        return 401
    return None if rule == ANY or kind in (rule, Scope.ADMIN, "first") else 403


def test_every_route_has_a_rule(settings):
    assert sorted(set(all_routes(settings))) == sorted(RULES)


@pytest.mark.parametrize("auth", ["none", "predict", "keys"])
def test_every_route_keeps_its_rule(ask, keys, auth):
    send = ask(auth)
    for route, rule in RULES.items():
        for kind, key in keys.items():
            status = send(route, key).status_code
            actual = status if status in (401, 403) else None
            assert actual == expected(rule, auth, kind), (route, kind)


def test_open_routes_load_no_version(ask, settings):
    registry = prepare_registry(settings)
    number = registry.save(registry.weights(1), registry.card(1))
    send = ask("keys")
    services = send.client.app_state["services"]
    for route in (route for route, rule in RULES.items() if rule == OPEN):
        assert send(route.replace("{version}", str(number)), None).status_code in (200, 304, 404)
    assert services.live.load_cached.cache_info().currsize == 0
    ready = f"GET /v2/models/mynet/versions/{number}/ready"
    assert send(ready, None).json() == {"name": "mynet", "ready": True}
    missing = send("GET /v2/models/mynet/versions/77/ready", None)
    assert missing.status_code == 404
    assert missing.json()["error"].startswith("Version '77' does not exist: versions are numbers.")
    assert send(f"GET /v2/models/mynet/versions/{number}", ADMIN_KEY).status_code == 200
    assert services.live.load_cached.cache_info().currsize == 1


def test_refusals_say_what_is_needed(ask, keys):
    send = ask("keys")
    for key in (None, keys["revoked"]):
        answer = send("POST /train", key)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "scope train" in answer.json()["detail"]
    answer = send("PUT /models/current", keys["train"])
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "scope admin" in answer.json()["detail"]
    assert "(test) has: train" in answer.json()["detail"]
    assert "scope predict" in send("POST /v2/models/mynet/infer", None).json()["error"]


def test_a_key_may_come_in_either_header(ask, keys):
    send = ask("keys")
    right, wrong = {"X-API-Key": keys["train"]}, {"X-API-Key": "wrong"}
    assert send("GET /train", None, headers=right).status_code == 200
    assert send("GET /train", "the-platforms-own", headers=right).status_code == 200
    assert send("GET /train", keys["train"], headers=wrong).status_code == 401
    assert send("GET /train", keys["train"], headers={"X-API-Key": ""}).status_code == 200
    assert send("GET /train", None, headers={"X-API-Key": ""}).status_code == 401
    for value in ("", "Bearer", "Bearer ", keys["train"], f"Basic {keys['train']}"):
        assert send("GET /train", None, headers={"Authorization": value}).status_code == 401
    for value in (f"bearer {keys['train']}", f"Bearer  {keys['train']} "):
        assert send("GET /train", None, headers={"Authorization": value}).status_code == 200


@pytest.mark.parametrize("auth", ["predict", "keys"])
def test_a_key_opens_changes(ask, keys, auth, seven):
    send = ask(auth)
    answer = send("PUT /models/current", ADMIN_KEY, content=b'{"version": 1}')
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    plain = {"content-type": "image/png"}
    assert send("POST /predict", keys["predict"], content=seven, headers=plain).json()["digit"] == 7


@pytest.mark.parametrize("route", ["POST /predict", "POST /train", "POST /models"])
def test_who_may_not_ask_is_refused_before_the_body_is_read(ask, route):
    def unread_body():
        raise AssertionError("the body was read")
        yield b""

    headers = {"content-length": "5000000", "content-type": "image/png"}
    answer = ask("keys")(route, None, content=unread_body(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_nothing_is_told_of_a_key_in_the_address(ask, keys):
    path = f"GET /train?api_key={keys['train']}&key={keys['train']}"
    assert ask("keys")(path, None).status_code == 401


def test_the_documentation_says_how_to_send_a_key(ask):
    document = ask("keys")("GET /openapi.json", None).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "X-API-Key"}
    paths = document["paths"]
    assert paths["/predict"]["post"]["security"] == [
        {"bearer": ["predict"]}, {"X-API-Key": ["predict"]}
    ]  # fmt: skip
    assert paths["/models/{version}"]["delete"]["security"][0] == {"bearer": ["admin"]}
    assert "security" not in paths["/health/ready"]["get"]


def test_none_looks_at_no_keys(ask, digits):
    send = ask("none")
    image = {"content-type": "image/png"}
    answer = send("POST /predict", "wrong", content=png(digits[0]), headers=image)
    assert answer.json()["digit"] == 7
