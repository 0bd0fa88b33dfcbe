"""`kill -9` of training processes and servers."""
