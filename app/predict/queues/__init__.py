"""Queues of work before decoders and threads: admission, order of urgency, bounded threads."""
