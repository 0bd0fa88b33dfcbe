"""Keys of a running service: the first one, others made and revoked while two workers serve."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from mynet_client import ApiError, Client
from tests.service.running import ANSWER_TIMEOUT, MYNET, run_service, wait_until

ADMIN_KEY = "the-first-key-of-all"
# What the refusal of an address beyond loopback names.
BEYOND_LOOPBACK = (
    "MYNET_HOST=0.0.0.0",
    "MYNET_ADMIN_KEY",
    "mynet keys create",
    "MYNET_AUTH=predict",
    "MYNET_AUTH=none",
    "MYNET_HOST=127.0.0.1",
)


def keys(state, *arguments):
    """Run `mynet keys` on the state folder of a running service."""
    done = subprocess.run(
        [MYNET, "keys", *arguments],
        env={**os.environ, "MYNET_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def status(service, path, key, body=None):
    """Return the status of a request on a new connection, so that either worker may answer."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = Request(f"http://127.0.0.1:{service.port}{path}", body, headers)
    try:
        with urlopen(request, timeout=ANSWER_TIMEOUT) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_keys_change_while_two_workers_serve(tmp_path, seven):
    state = tmp_path / "var"
    settings = {"workers": 2, "auth": "keys", "admin_key": ADMIN_KEY}
    with run_service(state, **settings) as service:
        assert wait_until(lambda: service.went_live == 2)

        def both_answer(path, key, expected, body=None):
            """Both workers answer so, twenty times in a row."""
            return wait_until(
                lambda: {status(service, path, key, body) for _ in range(20)} == {expected}
            )

        assert both_answer("/models", ADMIN_KEY, 200)
        assert both_answer("/predict", None, 401, seven)
        old = keys(state, "create", "page", "--scope", "predict")
        assert both_answer("/predict", old, 200, seven)
        assert both_answer("/models", old, 403)
        new = keys(state, "create", "page", "--scope", "predict", "--days", "30")
        assert both_answer("/predict", new, 200, seven)
        keys(state, "revoke", old.split("_")[1])
        assert both_answer("/predict", old, 401, seven)
        assert both_answer("/predict", new, 200, seven)
        assert wait_until(lambda: all(last_used(state, key) for key in (old, new)))
        log = service.log.read_text()
        for secret in (ADMIN_KEY, old.split("_")[2], new.split("_")[2]):
            assert secret not in log


def last_used(state, secret):
    """Return when a key was last used, as `mynet keys list` shows."""
    listed = json.loads(keys(state, "list", "--json"))["data"]
    return next(key["last_used"] for key in listed if key["id"] == secret.split("_")[1])


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("keys") / "var"


@pytest.fixture(scope="module")
def service(state):
    """A service that wants keys. The last test that uses it damages its database."""
    with run_service(state, auth="keys", admin_key=ADMIN_KEY) as service:
        yield service


def test_the_client_and_the_command_line_send_their_key(state, service, seven):
    url = f"http://127.0.0.1:{service.port}"
    key = keys(state, "create", "ci", "--scope", "predict", "--scope", "train")
    assert wait_until(lambda: status(service, "/train", key) == 200)
    with Client(url, api_key=key) as mynet:
        assert mynet.predict(seven).digit == 7
        assert mynet.models().current
        job = mynet.train(epochs=1)
        assert mynet.cancel(job).id == job.id
        with pytest.raises(ApiError, match="scope admin") as error:
            mynet.rollback()
        assert (error.value.status, error.value.code) == (403, "forbidden")
    with Client(url) as anonymous, pytest.raises(ApiError) as error:
        anonymous.predict(seven)
    assert error.value.code == "unauthenticated"
    command = [MYNET, "models", "--url", url]
    done = subprocess.run([*command, "--api-key", key], capture_output=True, check=True)
    assert b"live" in done.stdout
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "scope train" in done.stderr
    audited = [line for line in service.log.read_text().splitlines() if "app.audit" in line]
    assert [line.split("app.audit: ")[1].split(" ")[:3] for line in audited] == [
        ["POST", "/train", "202"],
        ["POST", f"/train/{job.id}/cancel", "202"],
        ["POST", "/models/rollback", "403"],
    ]


def test_keys_outlive_a_damaged_database(state, service, seven):
    good, gone = (keys(state, "create", name, "--scope", "predict") for name in ("a", "b"))
    keys(state, "revoke", gone.split("_")[1])

    def statuses_now():
        return [status(service, "/predict", key, seven) for key in (good, gone)]

    # Both at once: a service that knew of no revocation yet could not read it afterwards.
    assert wait_until(lambda: statuses_now() == [200, 401])
    assert wait_until(lambda: has_revocation(state / "mynet.db.backup", gone.split("_")[1]))
    file = state / "mynet.db"
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    statuses = []

    def is_repaired():
        statuses.append(statuses_now())
        return has_revocation(file, gone.split("_")[1])

    assert wait_until(is_repaired), service.log.read_text()
    assert set(map(tuple, statuses)) == {(200, 401)}, "what was revoked stays revoked"
    newer = keys(state, "create", "c", "--scope", "predict")
    assert wait_until(lambda: status(service, "/predict", newer, seven) == 200)
    assert status(service, "/predict", gone, seven) == 401


def has_revocation(file, key_id):
    """Return whether a database knows that a key is revoked."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as opened:
            revoked = opened.execute("SELECT revoked_at FROM keys WHERE id = ?", [key_id])
            return revoked.fetchone()[0] is not None
    except (sqlite3.Error, TypeError):
        return False


def test_beyond_loopback_a_key_is_enough_to_start(tmp_path, seven):
    state = tmp_path / "var"
    key = keys(state, "create", "app", "--scope", "predict")
    with run_service(state, host="0.0.0.0") as service:
        assert status(service, "/predict", None, seven) == 401
        assert status(service, "/predict", key, seven) == 200


def test_beyond_loopback_a_revoked_key_is_not_enough_to_start(tmp_path):
    """For a database that never had a key, see tests/service/test_life.py."""
    state = tmp_path / "var"
    keys(state, "revoke", keys(state, "create", "app", "--scope", "admin").split("_")[1])
    variables = {"MYNET_STATE_DIR": str(state), "MYNET_PORT": "0", "MYNET_HOST": "0.0.0.0"}
    done = subprocess.run(
        [MYNET, "serve"],
        env={**os.environ, **variables, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert [part for part in BEYOND_LOOPBACK if part not in done.stderr] == []
