"""``python -m app.demo_judges PORT [MODEL=TASTE …]``: simulated judges in a process of their own, until Ctrl-C."""

import sys
import threading

from app.demo_judges.script import TASTES, Script
from app.demo_judges.server import demo_judges
from app.demo_judges.tastes import taste_named
from app.domain.errors import ArenaError


def main(arguments: list[str]) -> int:
    """Run until interrupted; the first line of output is the address."""
    try:
        port, *rest = arguments or ["0"]
        chosen = {model: taste_named(taste) for model, _, taste in (part.partition("=") for part in rest)}
        with demo_judges(Script(tastes={**TASTES, **chosen}), int(port)) as running:
            sys.stdout.write(f"{running.url}\n")
            sys.stdout.flush()
            threading.Event().wait()
    except ArenaError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
