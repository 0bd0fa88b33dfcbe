"""Decoder processes: they read the images of strangers, and may die of them."""
