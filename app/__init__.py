"""The arena: web pages, command line, and everything the web image needs. Never imports torch."""

__version__ = "0.1.0"
