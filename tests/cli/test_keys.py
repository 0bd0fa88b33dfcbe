"""`mynet keys`, as people type it."""

import json
import os
import re
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.auth.key_cache import KeyCache
from app.auth.keys import KeyStore, Scope
from app.cli.verbs.keys import ScopeName
from app.database.database import Database

COLUMNS = ("id", "name", "scopes", "made (UTC)", "last used (UTC)", "state")
CODE = "from app.cli.main import main; main()"


@pytest.fixture
def cache(tmp_path):
    """What a service on this state folder knows."""
    database = Database(f"sqlite:///{tmp_path / 'var' / 'mynet.db'}")
    yield KeyCache(KeyStore(database), None)
    database.close()


def test_a_key_is_shown_once_and_works(mynet, cache):
    done = mynet("keys", "create", "ci", "--scope", "predict", "--scope", "train")
    assert done.exit_code == 0, done.output
    whole = done.stdout.strip()
    assert re.fullmatch("mynet_[0-9a-f]{12}_[0-9a-f]{48}", whole), "alone on standard output"
    cache.refresh()
    assert cache.find(whole.encode()).scopes == ["predict", "train"]
    listed = mynet("keys", "list").stdout
    assert whole.rpartition("_")[2] not in listed
    header, row = listed.splitlines()
    assert re.split("  +", header) == [*COLUMNS]
    assert re.fullmatch(r"[0-9a-f]{12}  ci    predict,train  [\d-]+ [\d:]+  never +valid", row)


def test_keys_as_json_hold_no_secret(mynet):
    full_key = mynet("keys", "create", "ci", "--scope", "train", "--days", 3).stdout.strip()
    done = mynet("keys", "list", "--json")
    (key,) = json.loads(done.stdout)["data"]
    assert (key["id"], key["name"]) == (full_key.split("_")[1], "ci")
    assert (key["scopes"], key["revoked_at"]) == (["train"], None)
    assert key["expires_at"] > key["created_at"]
    assert full_key.rpartition("_")[2] not in done.stdout
    assert key.keys().isdisjoint({"digest", "key"})


def test_list_keys_shows_when_each_was_last_used(mynet, cache):
    key = mynet("keys", "create", "ci", "--scope", "train").stdout.strip()
    (listed,) = json.loads(mynet("keys", "list", "--json").stdout)["data"]
    assert listed["last_used"] is None
    time = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    cache.keys.store_last_used({key.split("_")[1]: time})
    (listed,) = json.loads(mynet("keys", "list", "--json").stdout)["data"]
    assert listed["last_used"] == time.isoformat()
    assert "2026-03-04 05:06" in mynet("keys", "list").stdout


def test_rotate_key_keeps_the_old_one_for_the_grace_period(mynet, cache):
    old = mynet("keys", "create", "ci", "--scope", "train").stdout.strip()
    done = mynet("keys", "rotate", old.split("_")[1], "--grace-hours", 1)
    assert done.exit_code == 0, done.output
    new = done.stdout.strip()
    cache.refresh()
    assert cache.find(old.encode()).expires_at is not None
    assert (cache.find(new.encode()).name, cache.find(new.encode()).scopes) == ("ci", ["train"])


def test_scopes_are_those_of_the_service():
    assert [*map(str, ScopeName)] == [*map(str, Scope)]


def test_makers_and_revokers_are_told_of(mynet):
    done = mynet("keys", "create", "ci", "--scope", "train")
    key_id = done.stdout.split("_")[1]
    actor = f"by user {os.getuid()} on the command line"
    assert f"app.audit: create key {key_id} (ci; train) {actor}" in done.stderr
    assert done.stdout.strip().rpartition("_")[2] not in done.stderr
    done = mynet("keys", "revoke", key_id)
    assert f"app.audit: revoke key {key_id} (ci; train) {actor}" in done.stderr


def test_as_json_too(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_LOG_FORMAT", "json")
    line = json.loads(mynet("keys", "create", "ci", "--scope", "admin").stderr)
    assert (line["logger"], line["what"], line["name"], line["scopes"]) == (
        "app.audit", "create", "ci", "admin"
    )  # fmt: skip


def test_a_key_may_end_by_itself_or_be_revoked(mynet, cache):
    mynet("keys", "create", "guest", "--scope", "predict", "--days", 90)
    whole = mynet("keys", "create", "old", "--scope", "predict").stdout.strip()
    assert mynet("keys", "revoke", whole.split("_")[1]).exit_code == 0
    _, guest, old = mynet("keys", "list").stdout.splitlines()
    assert re.search(r"guest .* valid until \d{4}-", guest)
    assert re.search(r"old .* revoked \d{4}-", old)
    cache.refresh()
    assert cache.find(whole.encode()) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "ci"], "--scope"),
        (["create", "ci", "--scope", "all"], "'predict', 'train', 'admin'"),
        (["create", "ci", "--scope", "train", "--days", "0"], "--days"),
        (["create", "two words", "--scope", "train"], "Use 1 to 64 letters"),
        (["revoke", "zzz"], "The key 'zzz' does not exist"),
    ],
)
def test_what_is_wrong_is_said(mynet, arguments, message):
    done = mynet("keys", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert json.loads(mynet("keys", "list", "--json").stdout) == {"data": []}


def test_what_is_revoked_while_nothing_runs_outlives_a_damaged_database(mynet, tmp_path):
    keys = [mynet("keys", "create", name, "--scope", "train").stdout for name in ("a", "b")]
    mynet("keys", "revoke", keys[0].split("_")[1])
    (tmp_path / "var" / "mynet.db").write_bytes(bytes(8192))
    listed = mynet("keys", "list")
    states = [line.split()[6] for line in listed.stdout.splitlines()[1:]]
    assert states == ["revoked", "valid"], listed.output


def test_a_key_is_revoked_once(mynet):
    key_id = mynet("keys", "create", "ci", "--scope", "train").stdout.split("_")[1]
    assert mynet("keys", "revoke", key_id).exit_code == 0
    assert "already revoked" in mynet("keys", "revoke", key_id).stderr


def create_key(redirection):
    """Make a key in a process of its own, whose standard output is redirected."""
    keys = f'"$0" -c "{CODE}" keys create ci --scope train {redirection}'
    return subprocess.run(["sh", "-c", keys, sys.executable], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        pytest.param(
            "> /dev/full",
            "No space left on device",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it"),
        ),
        (">&-", "it is closed"),
    ],
)
def test_a_key_that_nobody_can_have_seen_opens_nothing(mynet, redirection, reason):
    done = create_key(redirection)
    assert done.returncode == 2
    assert "Standard output cannot be written (" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    _, listed = mynet("keys", "list").stdout.splitlines()
    assert " revoked " in listed
    key_id = listed.split()[0]
    assert f"key {key_id} is revoked." in done.stderr.replace("\n", " ")
    assert f"app.audit: revoke key {key_id} (ci; train)" in done.stderr


def test_a_database_that_cannot_be_used_is_told(mynet, monkeypatch):
    monkeypatch.setenv("MYNET_DATABASE_URL", "nonsense")
    done = mynet("keys", "list")
    assert done.exit_code == 2
    assert "MYNET_DATABASE_URL cannot be used" in done.stderr


def test_a_key_that_cannot_be_kept_is_not_shown(mynet):
    """As on a full disk: files may not grow."""
    assert mynet("keys", "list").exit_code == 0  # the database is there by then
    done = subprocess.run(
        [sys.executable, "-c", CODE, "keys", "create", "ci", "--scope", "train"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert json.loads(mynet("keys", "list", "--json").stdout) == {"data": []}
