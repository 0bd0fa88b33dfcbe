"""Test rigs: load generators, faults, kills and soak runs, for tests and benchmarks."""
