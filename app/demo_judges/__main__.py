"""``python -m app.demo_judges``: simulated judges in a process of their own, until Ctrl-C. ``--help`` says the rest."""

import argparse
import sys
import threading
from dataclasses import replace

from app.demo_judges.script import TASTES, Fault, Script, evenly
from app.demo_judges.server import demo_judges
from app.demo_judges.tastes import taste_named
from app.domain.errors import ArenaError


def main(arguments: list[str]) -> int:
    """Run until interrupted; the first line of output is the address."""
    parser = argparse.ArgumentParser(
        prog="python -m app.demo_judges", description="Simulated judges; the key is 'simulated'."
    )
    parser.add_argument("tastes", nargs="*", metavar="MODEL=TASTE", help="such as claude-opus-5-5=always-a")
    parser.add_argument("--port", type=int, default=0, help="0, the default: a free one")
    parser.add_argument("--seed", type=int, default=0, help="of chance and of faults")
    parser.add_argument("--faults", type=float, default=0.0, metavar="SHARE", help="of calls that something befalls")
    parser.add_argument("--any-key", action="store_true", help="take any key, not only 'simulated'")
    given = parser.parse_args(arguments)
    try:
        chosen = {model: taste_named(taste) for model, _, taste in (part.partition("=") for part in given.tastes)}
        faults = evenly(given.faults, Fault.HANG)
        script = Script(seed=given.seed, tastes={**TASTES, **chosen}, faults=faults)
        script = replace(script, key="") if given.any_key else script
        with demo_judges(script, given.port) as running:
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
