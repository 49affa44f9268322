"""One page of a designed state."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of a state. ``action`` is the selector of what most people come to do there.

    ``entry``: the path of an entry link, for a page that somebody else than the admin looks at.
    """

    name: str
    path: str
    action: str = ""
    signed_in: bool = True
    status: int = 200
    entry: str = ""
