"""Training jobs: queue, supervisor, worker processes, recipes, evaluation and promotion."""
