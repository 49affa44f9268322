"""Use cases that write. The session comes first; they flush and never commit."""
