"""Closed eval batches as files: one module a format."""
