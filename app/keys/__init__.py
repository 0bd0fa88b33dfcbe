"""API keys: which were issued, which are known here, and what they may be good for."""
