"""What the service tells of itself: lines in the log, traces, and what it counts."""
