"""Checkpoint intake: an upload is hostile until proven otherwise, and only our own copy of it is ever loaded."""
