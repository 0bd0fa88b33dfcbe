"""Alembic environment: runs each upgrade in the transaction of `app.database.migrate`."""

from alembic import context

attributes = context.config.attributes
context.configure(connection=attributes["connection"], version_table=attributes["version_table"])
with context.begin_transaction():
    context.run_migrations()
