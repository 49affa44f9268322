"""Celery processes, thin: claim a job row, do the work with ``training``, record it with ``app.services``."""
