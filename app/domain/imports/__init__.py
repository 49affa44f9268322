"""Readers of published comparisons: one module a format, from rows to the same few items."""
