"""`python -m app.setup base | train [--torch cpu|cuda]`: what the door and `arena up` start as processes."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from app.setup import local_home
from app.setup.background import install_train
from app.setup.base import ensure_base
from app.setup.extras import TORCH_CHOICES, SetupError


def main(arguments: list[str]) -> int:
    """Install what is named. Returns the exit code: 0 done, 1 failed (and said why), 2 misused."""
    parser = argparse.ArgumentParser(prog="python -m app.setup", description=__doc__)
    parser.add_argument("what", choices=("base", "train"))
    parser.add_argument("--torch", choices=TORCH_CHOICES, default="auto")
    parser.add_argument("--home", type=Path, default=local_home())
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    try:
        if options.what == "train":
            return 0 if install_train(options.home, options.torch) else 1
        ensure_base()
    except SetupError as error:
        print(f"arena: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\narena: Stopped. The next start takes up the installation where it ended.", file=sys.stderr)
        return 130
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that pip is ended with us."""
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
