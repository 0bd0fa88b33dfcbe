"""What the benchmarks share: services under test, wrk, tables and plots."""
