"""Peers of MyNet in the benchmarks: each reads the same digits with the same weights."""
