"""Names that also become folder names or parts of commands."""

import re

from app.domain.errors import BadInputError

SAMPLE = "sample"
"""First part of the names of what ships with the arena: ``sample/epoch-1``, ``sample-brie-in-domain``."""

GOLD = "brie-gold"
CANARY = "brie-canary"
CONTROLS = (GOLD, CANARY)
"""Suites of control pairs. Nothing is compared on them, so no list and no form offers them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str, what: str) -> str:
    """The name itself, when it is safe as a folder name on every system.

    Raises:
        BadInputError: it is not; says what is allowed.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise BadInputError(
            f"{name!r} cannot be the name of a {what}: use up to 100 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit."
        )
    if name == SAMPLE:  # the checkpoints of such a run would be called like the sample study's
        raise BadInputError(f"{name!r} is kept for the sample study. Choose another name for this {what}.")
    return name
