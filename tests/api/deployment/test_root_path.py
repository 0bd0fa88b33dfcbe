"""A path prefix: from the setting, from a proxy's header, or from an app that mounts this one."""

from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.config.settings import Settings, SettingsError, load_settings
from app.main import create_app
from tests.conftest import settings_in

JOB = {"epochs": 1, "promote": "never"}


def prefixed(folder, root_path=None, client="127.0.0.1"):
    settings = settings_in(folder).model_copy(update={"root_path": root_path})
    return TestClient(create_app(settings), client=(client, 1))


@pytest.fixture(scope="module")
def with_setting(tmp_path_factory):
    with prefixed(tmp_path_factory.mktemp("prefixed"), "/mynet") as client:
        yield client


@pytest.fixture(scope="module")
def without_setting(tmp_path_factory):
    with prefixed(tmp_path_factory.mktemp("plain")) as client:
        yield client


@pytest.mark.parametrize("path", ["/train", "/mynet/train"])
def test_create_job_root_path_location_has_the_prefix(with_setting, path):
    answer = with_setting.post(path, json=JOB)
    job_id = answer.json()["id"]
    assert answer.headers["location"] == f"/mynet/train/{job_id}"
    assert with_setting.get(answer.headers["location"]).json()["id"] == job_id
    assert with_setting.post(f"{path}/{job_id}/cancel").status_code == 202


def test_openapi_root_path_names_the_server(with_setting, without_setting):
    assert with_setting.get("/mynet/openapi.json").json()["servers"] == [{"url": "/mynet"}]
    assert "servers" not in without_setting.get("/openapi.json").json()


def test_not_found_root_path_links_to_the_docs_below_the_prefix(with_setting):
    problem = with_setting.get("/mynet/nothing").json()
    assert problem["detail"] == "No route matches GET /nothing. See /mynet/docs for all routes."


def test_protocol_error_root_path_keeps_the_form_of_its_protocol(with_setting):
    answer = with_setting.post("/mynet/v1/models/mynet:predict", content=b"{")
    assert (answer.status_code, [*answer.json()]) == (400, ["error"])


@pytest.mark.parametrize("path", ["/mynet", "/mynet/"])
def test_page_root_path_without_slash_redirects(with_setting, path):
    answer = with_setting.get(path)
    assert (answer.status_code, answer.url.path) == (200, "/mynet/")
    assert "<title>MyNet</title>" in answer.text


@pytest.mark.parametrize(
    ("header", "server"),
    [
        ("/digits", "/digits"),
        ("/digits/", "/digits"),
        ("/outer, /inner", "/outer/inner"),
        ("//evil.example", None),
        ("/a?b", None),
        ("https://evil.example", None),
    ],
)
def test_forwarded_prefix_trusted_proxy_counts_if_it_is_a_path(without_setting, header, server):
    document = without_setting.get("/openapi.json", headers={"X-Forwarded-Prefix": header}).json()
    assert document.get("servers") == (server and [{"url": server}])


def test_forwarded_prefix_precedes_the_setting(with_setting):
    headers = {"X-Forwarded-Prefix": "/digits"}
    document = with_setting.get("/openapi.json", headers=headers).json()
    assert document["servers"] == [{"url": "/digits"}]


def test_forwarded_prefix_untrusted_client_is_ignored(tmp_path, monkeypatch):
    headers = {"X-Forwarded-Prefix": "/digits"}
    with prefixed(tmp_path, client="192.0.2.7") as client:
        assert "servers" not in client.get("/openapi.json", headers=headers).json()
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1,192.0.2.0/24")
    with prefixed(tmp_path, client="192.0.2.7") as client:
        assert client.get("/openapi.json", headers=headers).json()["servers"]


def test_mounted_app_behind_a_prefix_has_both(tmp_path, seven):
    mynet = create_app(settings_in(tmp_path))

    @asynccontextmanager
    async def lifespan(_):
        async with mynet.router.lifespan_context(mynet) as state:
            yield state

    parent = FastAPI(lifespan=lifespan)
    parent.mount("/digits", mynet)
    with TestClient(parent, client=("127.0.0.1", 1)) as client:
        assert client.post("/digits/predict", content=seven).json()["digit"] == 7
        assert client.get("/digits/openapi.json").json()["servers"] == [{"url": "/digits"}]
        headers = {"X-Forwarded-Prefix": "/outer"}
        answer = client.post("/digits/train", json=JOB, headers=headers)
        assert answer.headers["location"] == f"/outer/digits/train/{answer.json()['id']}"


@pytest.mark.parametrize(("value", "root_path"), [("/", None), ("/a/b-c/", "/a/b-c")])
def test_root_path_is_stored_without_its_last_slash(value, root_path):
    assert Settings(root_path=value).root_path == root_path


@pytest.mark.parametrize("value", ["mynet", "//a", "/a b", "/a?b", "https://a.example/b"])
def test_root_path_that_is_no_path_is_refused(monkeypatch, value):
    monkeypatch.setenv("MYNET_ROOT_PATH", value)
    with pytest.raises(SettingsError, match=r"MYNET_ROOT_PATH=.*must be a path such as /mynet"):
        load_settings()
