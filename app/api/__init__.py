"""The HTTP contract, one file a resource. FastAPI is imported here and in `app.main` alone."""
