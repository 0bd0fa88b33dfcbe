"""The HTTP API, one module for each resource. Only this package and `app.main` import FastAPI."""
