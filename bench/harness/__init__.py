"""Shared parts of the benchmarks: services under test, wrk, tables and plots."""
