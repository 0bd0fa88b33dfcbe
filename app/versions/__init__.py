"""Versions: weights with their card, by number, on disk or in a bucket, and which one is live."""
