"""The scripts that lead from one revision of the tables to the next."""
