"""Checkpoints behind an OpenAI-compatible API: one process with one base model and up to eight adapters on it."""
