"""Faults done to a running service."""
