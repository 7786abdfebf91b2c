"""Runnable comparisons, one a claim; each prints a table, which is committed beside it."""
