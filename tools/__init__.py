"""Command-line tools that make or measure data and pictures."""
