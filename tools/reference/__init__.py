"""The pages of docs/reference that are made from the code: `python -m tools.reference`.

Each page is a function that returns Markdown. `make docs` writes the files, and
tests/repository/test_reference.py compares them with the code.
"""
