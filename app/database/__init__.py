"""The database: jobs, events, sweeps, the lease and keys, in SQLite, PostgreSQL or another."""
