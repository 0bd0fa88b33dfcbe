"""Restrictions of the processes that read untrusted files: environment, limits, system calls."""
