"""A plain text inside of a Markdown file that the arena writes."""

import re

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")


def escaped(text: str) -> str:
    """One line that Markdown shows as it stands, whatever somebody called a checkpoint."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
