"""Migrations of the database, by Alembic.

What enters: a connection in a transaction of the caller's. What leaves: its tables at a revision;
the transaction stays the caller's, so that a crash leaves what was there before. There is no
`alembic.ini`: the scripts come with the package. Imported only where there is something to migrate,
since Alembic takes half a second.
"""

import logging
import threading
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine

from app.database.tables import REVISION_TABLE

SCRIPTS: Final = Path(__file__).parent / "migrations"
# Alembic's context is the process's: two threads must not upgrade at once.
_one_at_a_time: Final = threading.Lock()
logging.getLogger("alembic").setLevel(logging.WARNING)


def revisions() -> list[str]:
    """Return the revisions of this code, newest first."""
    return [script.revision for script in _scripts().walk_revisions()]


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the scripts that lead from the revision of the tables to this one."""
    config = _config()
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, revision)


def tables_at(revision: str) -> MetaData:
    """Return the tables as the scripts make them, up to this revision."""
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            upgrade(connection, revision)
            tables = MetaData()
            tables.reflect(connection)
            tables.remove(tables.tables[REVISION_TABLE.name])
    finally:
        engine.dispose()
    return tables


def _config() -> Config:
    config = Config()
    config.attributes["version_table"] = REVISION_TABLE.name
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
