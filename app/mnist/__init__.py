"""MNIST on disk: its four IDX files, and how a missing or damaged one is restored."""
