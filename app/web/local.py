"""Addresses of this site: where a browser may be sent after it has signed in."""

import re
from urllib.parse import urlsplit

_LONGEST = 2000
_ODD = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
"""Browsers drop some of these and read the backslash as a slash: ``/<tab>/host`` would lead to another site."""
_DOORS = ("/enter", "/leave", "/join")


def local_path(wanted: str) -> str:
    """The path itself where it is a page of this site, else ``/``."""
    if not wanted.startswith("/") or wanted.startswith("//") or len(wanted) > _LONGEST or _ODD.search(wanted):
        return "/"
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or re.fullmatch(rf"(?:{'|'.join(_DOORS)})(?:/.*)?", parts.path):
        return "/"
    return wanted
