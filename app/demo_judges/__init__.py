"""Simulated judges: a local server that speaks Anthropic's API and chat completions, with scripted tastes and faults.

For tests, for the bench, and for trying the arena without a key. It reads no texts as a model would, costs nothing, and
says "simulated" in whatever it writes.
"""
