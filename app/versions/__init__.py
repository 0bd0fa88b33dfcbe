"""Versions: weights with their card, by number, in a folder or in a bucket; one of them is live."""
