"""Segmentation: find the lines of digits in an image, and the ways to cut each line into digits."""
