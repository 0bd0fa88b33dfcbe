"""Benchmarks of a service's life: start, end, swaps, scaling."""
