"""Promotions under load."""
