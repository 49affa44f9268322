"""Headers of an answer that is a file to keep, whatever somebody called the thing it is named after."""

import re
from urllib.parse import quote

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def attachment(name: str) -> dict[str, str]:
    """``Content-Disposition`` as RFC 6266 writes it: a plain name for all, and the real one where it is another."""
    plain = _UNSAFE.sub("_", name)
    real = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": f'attachment; filename="{plain}"{real}', "Cache-Control": "no-store"}
