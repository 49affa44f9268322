"""The ``arena`` command, one module per group of commands."""
