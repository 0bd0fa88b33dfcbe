"""`mynet db`, as people type it, and starts over schemas that cannot be used."""

import shutil
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from app.cli.main import app
from app.database.schema import BASELINE, REVISION
from app.server import server
from tests.database.test_set_aside import execute
from tests.database.test_upgrade import ROWS, SNAPSHOT_DIR


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A state folder that commit bfdd7ca made."""
    monkeypatch.setenv("MYNET_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("MYNET_PORT", "0")
    monkeypatch.setenv("COLUMNS", "1000")
    return shutil.copytree(SNAPSHOT_DIR / "state", tmp_path / "var")


@pytest.fixture
def mynet(state, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(server, "_serve", lambda _: typer.echo("it serves"))
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_an_older_database_is_told_and_migrated_by_hand(mynet, state, monkeypatch):
    monkeypatch.setenv("MYNET_DATABASE_MIGRATE", "false")
    done = mynet("db", "current")
    assert done.exit_code == 1
    assert "database: none\n" in done.stdout, "it does not say one"
    assert f"code: {REVISION}\n" in done.stdout
    assert f"has revision {BASELINE}, and this MyNet needs {REVISION}" in done.stdout
    done = mynet("serve")
    assert (done.exit_code, "it serves" in done.stdout) == (2, False)
    assert "Run `mynet db upgrade`" in done.stderr
    assert "does not answer" not in done.stderr
    done = mynet("db", "upgrade")
    assert done.exit_code == 0, done.output
    assert f"had revision {BASELINE}, and has {REVISION}" in done.stdout
    assert f"{state / 'mynet.db'}.before-{BASELINE}" in done.stdout
    done = mynet("db", "upgrade")
    assert (done.exit_code, "nothing to migrate" in done.stdout) == (0, True)
    done = mynet("db", "current")
    assert (done.exit_code, done.stdout) == (0, f"database: {REVISION}\ncode: {REVISION}\n")
    assert "it serves" in mynet("serve").stdout


def test_a_start_migrates(mynet):
    assert "it serves" in mynet("serve").stdout
    assert mynet("db", "current").exit_code == 0


@pytest.mark.parametrize("verb", [("keys", "list"), ("train", "--epochs", "1")])
def test_other_verbs_do_not_migrate_beside_a_service_that_may_be_older(mynet, verb):
    done = mynet(*verb)
    assert done.exit_code == 2
    assert f"has revision {BASELINE}, and this MyNet needs {REVISION}" in done.stderr
    assert mynet("db", "current").exit_code == 1
    mynet("db", "upgrade")
    done = mynet("keys", "list")
    assert all(key["id"] in done.stdout for key in ROWS["keys"])


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE mynet_alembic_version SET version_num = '9999'",
            "A newer MyNet probably migrated the database",
        ),
        ("ALTER TABLE jobs DROP COLUMN errors", "jobs.errors is missing"),
    ],
)
def test_newer_and_mangled_schemas_are_refused_by_every_verb(mynet, state, statement, message):
    mynet("db", "upgrade")
    execute(state / "mynet.db", statement)
    for verb in (("serve",), ("db", "upgrade"), ("keys", "list"), ("train",)):
        done = mynet(*verb)
        assert done.exit_code == 2, verb
        assert message in done.stderr
        assert REVISION in done.stderr
        assert "it serves" not in done.stdout
        assert "does not answer" not in done.stderr
        assert "Traceback" not in done.output
    done = mynet("db", "current")
    assert done.exit_code == 1
    assert message in done.stdout


def test_the_process_ends_with_the_exit_code_of_other_start_errors(mynet, state):
    mynet("db", "upgrade")
    execute(state / "mynet.db", "ALTER TABLE jobs DROP COLUMN errors")
    command = [sys.executable, "-c", "from app.cli.main import main; main()", "serve"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "jobs.errors is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_there_is_no_database_that_is_told(mynet, state):
    (state / "mynet.db").unlink()
    done = mynet("db", "current")
    assert (done.exit_code, "does not exist. Start the service" in done.stderr) == (2, True)
    assert not (state / "mynet.db").exists()
