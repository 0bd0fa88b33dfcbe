"""Formats of data sets: a zip of folders, pairs of IDX files, NumPy arrays, and CSV."""
