"""What the door does before the app can run: installs, finds programs, runs the checks.

Standard library only, and the one place beside app.config that reads the environment: it runs before the
packages and the settings exist.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: everything is found relative to it, never to the working directory."""


def local_home() -> Path:
    """Where local state and logs live: ``ARENA_HOME``, else ``var/`` in the checkout."""
    return Path(os.environ.get("ARENA_HOME") or ROOT / "var")
