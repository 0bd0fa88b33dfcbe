"""Migration scripts, one for each revision, in SQL that SQLite and PostgreSQL share."""
