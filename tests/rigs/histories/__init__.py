"""Histories of concurrent requests, and the search for one order that explains each."""
