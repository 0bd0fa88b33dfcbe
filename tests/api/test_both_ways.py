"""Keys, rate limits and origins hold on the short way as on the route."""

import pytest

from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.jobs import JobStore
from app.main import create_app
from tests.api.routes.test_predict_fast_path import FORM, THE_ROUTE, form
from tests.served import serve_app

IMAGE = {"content-type": "image/png"}


@pytest.fixture
def key_store(settings):
    store = JobStore(Database(settings.effective_database_url))
    yield KeyStore(store.database)
    store.database.close()


@pytest.fixture
def key_for(key_store):
    return lambda *scopes: key_store.create("test", scopes)[1]


@pytest.fixture
def serve(settings):
    def serve(**changes):
        return serve_app(create_app(settings.model_copy(update=changes)))

    return serve


@pytest.fixture
def no_route(monkeypatch):
    """Fail whatever reaches the route."""

    def fail(*_):
        raise AssertionError("it went to the route")

    return lambda: monkeypatch.setattr("app.api.request_body.read_image", fail)


def comparable(answer):
    """Return an answer without the fields that differ from answer to answer."""
    random_fields = {"id", "request_id"}
    body = {name: value for name, value in answer.json().items() if name not in random_fields}
    headers = ("content-type", "www-authenticate", "retry-after")
    return answer.status_code, body, [answer.headers.get(header) for header in headers]


@pytest.mark.parametrize("auth", ["none", "predict", "keys"])
def test_both_ways_let_the_same_keys_pass(serve, key_for, auth, seven):
    keys = [None, "wrong", key_for(Scope.TRAIN), key_for(Scope.PREDICT), key_for(Scope.ADMIN)]
    statuses = []
    with serve(auth=auth) as client:
        for key in keys:
            for name, start in (("Authorization", "Bearer "), ("X-API-Key", "")):
                key_header = {name: start + key} if key else {}
                one, other = (
                    client.post(path, content=form(seven), headers=FORM | key_header)
                    for path in ("/predict", THE_ROUTE)
                )
                assert comparable(one) == comparable(other)
            statuses.append(one.status_code)
    assert statuses == ([401, 401, 403, 200, 200] if auth == "keys" else [200] * 5)


def test_keys_are_looked_at_on_the_short_way(serve, key_for, seven, no_route):
    key = key_for(Scope.PREDICT)
    with serve(auth="keys") as client:
        no_route()
        assert client.post("/predict", content=seven, headers=IMAGE).status_code == 401
        headers = IMAGE | {"X-API-Key": key}
        assert client.post("/predict", content=seven, headers=headers).json()["digit"] == 7


@pytest.mark.parametrize("auth", ["predict", "keys"])
@pytest.mark.parametrize("path", ["/predict", THE_ROUTE])
@pytest.mark.parametrize(("name", "start"), [("Authorization", "Bearer "), ("X-API-Key", "")])
def test_use_of_a_key_is_recorded_on_both_ways(
    serve, key_for, key_store, seven, auth, path, name, start
):
    headers = IMAGE | {name: start + key_for(Scope.PREDICT)}
    with serve(auth=auth) as client:
        assert client.post("/predict", content=seven, headers=IMAGE).status_code in (200, 401)
        assert client.post(path, content=seven, headers=headers).json()["digit"] == 7
    (key,) = key_store.all()
    assert key.last_used is not None


def test_keys_that_predictions_do_not_need_are_no_matter_for_the_short_way(serve, seven, no_route):
    """Where nothing needs a key, nothing checks one."""
    with serve(auth="none") as client:
        no_route()
        headers = IMAGE | {"X-API-Key": "mynet_wrong_guess"}
        assert client.post("/predict", content=seven, headers=headers).json()["digit"] == 7


def test_both_ways_count_together_and_refuse_alike(serve, seven):
    with serve(rate_limit="3/hour") as client:
        paths = ("/predict", THE_ROUTE, "/predict")
        answers = [client.post(path, content=seven, headers=IMAGE) for path in paths]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        rejections = [client.post(path, content=seven, headers=IMAGE) for path in paths]
        for answer in rejections:
            assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
            assert 3000 <= int(answer.headers["retry-after"]) <= 3600
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/metrics").status_code == 429
        for path in ("/health/ready", "/ping", "/v2/health/ready", "/docs"):
            assert client.get(path).status_code == 200


def test_what_is_handed_to_the_route_is_counted_once(serve):
    broken = {"content": b"no form", "headers": FORM}
    with serve(rate_limit="2/hour") as client:
        statuses = [client.post("/predict", **broken).status_code for _ in range(3)]
    assert statuses == [400, 400, 429]


def test_each_key_is_counted_for_itself_and_the_others_by_address(serve, key_for, seven):
    keys = [key_for(Scope.PREDICT), key_for(Scope.PREDICT)]

    def statuses(client, key):
        headers = IMAGE | ({"X-API-Key": key} if key else {})
        ask = (client.post("/predict", content=seven, headers=headers) for _ in range(3))
        return [answer.status_code for answer in ask]

    with serve(auth="keys", rate_limit="2/hour") as client:
        assert statuses(client, "mynet_wrong_guess") == [401, 401, 429]
        assert statuses(client, None) == [429, 429, 429]
        for key in keys:
            assert statuses(client, key) == [200, 200, 429]


@pytest.mark.parametrize("path", ["/predict", THE_ROUTE])
def test_who_is_behind_a_trusted_proxy_is_counted_apart(serve, seven, path):
    def status(client, address):
        headers = IMAGE | {"X-Forwarded-For": address}
        return client.post(path, content=seven, headers=headers).status_code

    with serve(rate_limit="1/hour") as client:
        assert [status(client, "192.0.2.1") for _ in range(2)] == [200, 429]
        assert [status(client, "192.0.2.2") for _ in range(2)] == [200, 429]
        # one customer of IPv6 has a network, and IPv4 may be written as IPv6
        assert [status(client, f"2001:db8::{n}") for n in range(2)] == [200, 429]
        assert status(client, "2001:db8:0:1::1") == 200
        assert status(client, "::ffff:192.0.2.1") == 429


@pytest.mark.parametrize("path", ["/predict", THE_ROUTE])
def test_authorize_forwarded_text_that_is_no_address_counts_the_connection(serve, seven, path):
    with serve(rate_limit="1/hour") as client:
        statuses = [
            client.post(path, content=seven, headers=IMAGE | forwarded).status_code
            for forwarded in (
                {},
                {"X-Forwarded-For": "x"},
                {"X-Forwarded-For": "192.0.2.1.evil.example"},
                {"X-Forwarded-For": "192.0.2.1, y"},
                {"X-Forwarded-For": "y:80"},
            )
        ]
    assert statuses == [200, 429, 429, 429, 429]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_match_request_from_another_site_returns_403_both_ways(serve, seven, headers):
    with serve() as client:
        host = client.base_url.netloc.decode()
        headers = {name: value.format(host=host) for name, value in headers.items()}
        for path in ("/predict", THE_ROUTE):
            answer = client.post(path, content=seven, headers=IMAGE | headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        for own in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": f"http://{host}"}):
            answer = client.post("/predict", content=seven, headers=IMAGE | own)
            assert answer.json()["digit"] == 7


@pytest.mark.parametrize("path", ["/predict", THE_ROUTE])
def test_match_request_for_another_host_returns_421_both_ways(serve, seven, path):
    with serve(allowed_hosts=None) as client:
        answer = client.post(path, content=seven, headers=IMAGE | {"Host": "evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (421, "misdirected")
        assert client.post(path, content=seven, headers=IMAGE).json()["digit"] == 7


def test_match_request_for_localhost_takes_the_short_way(serve, seven, no_route):
    with serve(allowed_hosts=None) as client:
        no_route()
        answer = client.post("/predict", content=seven, headers=IMAGE | {"Host": "localhost:1"})
        assert answer.json()["digit"] == 7


def test_pages_elsewhere_may_ask_where_that_is_set(serve, seven):
    headers = IMAGE | {"Origin": "https://a.org"}
    with serve(cors_origins="https://a.org, https://b.org", auth="keys") as client:
        for path in ("/predict", THE_ROUTE):
            answer = client.post(path, content=seven, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["access-control-allow-origin"] == "https://a.org"
            exposed_headers = answer.headers["access-control-expose-headers"]
            assert {"X-Request-ID", "Retry-After", "Location", "ETag"} <= {
                *exposed_headers.split(", ")
            }
        other_origin = {"Origin": "https://other.example"}
        answer = client.post("/predict", content=seven, headers=IMAGE | other_origin)
        assert "access-control-allow-origin" not in answer.headers


def test_without_an_origin_the_short_way_is_taken(serve, seven, no_route):
    with serve(cors_origins="*") as client:
        no_route()
        assert client.post("/predict", content=seven, headers=IMAGE).json()["digit"] == 7


@pytest.mark.parametrize("path", ["/predict", "/train", "/models/current"])
def test_a_preflight_wants_no_key_and_is_not_counted(serve, path):
    preflight = {
        "Origin": "https://a.org",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization, x-api-key, last-event-id, "
        "traceparent, tracestate, baggage",
    }
    with serve(cors_origins="*", auth="keys", rate_limit="1/hour") as client:
        for _ in range(2):
            answer = client.options(path, headers=preflight)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["x-request-id"]


def test_a_defect_is_shown_to_pages_too(serve, monkeypatch):
    with serve(cors_origins="*") as client:
        monkeypatch.setattr("app.api.request_body.parse", lambda *_: 1 / 0)
        json = {"content-type": "application/json", "Origin": "https://a.org"}
        answer = client.post("/predict", content=b"{}", headers=json)
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "*"


def test_without_the_setting_no_page_elsewhere_may_ask(serve, seven):
    for auth, status in (("none", 403), ("predict", 200)):
        with serve(auth=auth) as client:
            headers = {"Origin": "https://a.org", "Access-Control-Request-Method": "POST"}
            assert client.options("/predict", headers=headers).status_code == 405
            answer = client.post("/predict", content=seven, headers=IMAGE | headers)
        assert answer.status_code == status
        assert not any(name.startswith("access-control") for name in answer.headers)
