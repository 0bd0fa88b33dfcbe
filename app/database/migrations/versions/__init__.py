"""One script a revision, in SQL that SQLite and PostgreSQL share."""
