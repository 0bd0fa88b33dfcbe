"""Database access: jobs, events, sweeps, the lease and keys, in SQLite or PostgreSQL."""
