"""Reads: frozen dataclasses, each made for one page. ``ballots`` is the blind side and knows no checkpoint."""
