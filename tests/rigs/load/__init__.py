"""Load generators, and what they send."""
