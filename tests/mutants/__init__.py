"""Mutants: small patches of the code. Each breaks a promise of `guarantees.md`.

A promise counts as proven if the tests that its row names fail with the patch.
"""
