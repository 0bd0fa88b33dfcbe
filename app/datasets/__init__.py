"""Data sets: uploaded ones, the corrections, and MNIST, by one word for all."""
