"""Database migrations with Alembic.

They run in a transaction of the caller, so that a crash leaves the tables unchanged. There is no
`alembic.ini`, because the scripts are part of the package. This module is imported only if a
migration is needed: Alembic takes half a second to load.
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
# Alembic's context is global to the process, so two threads must not upgrade at the same time.
_upgrade_lock: Final = threading.Lock()
logging.getLogger("alembic").setLevel(logging.WARNING)


def revisions() -> list[str]:
    """Return the revisions of this code, newest first."""
    return [script.revision for script in _scripts().walk_revisions()]


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the scripts that migrate the tables from their revision to this one."""
    config = _config()
    config.attributes["connection"] = connection
    with _upgrade_lock:
        command.upgrade(config, revision)


def tables_at(revision: str) -> MetaData:
    """Return the tables that the scripts create, up to this revision."""
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
