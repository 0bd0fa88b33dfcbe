"""Module that stands in for the worker process: it waits for its line, and prints it."""

import sys

sys.stdout.write(sys.stdin.readline())
sys.stdout.flush()
sys.stdin.read()
