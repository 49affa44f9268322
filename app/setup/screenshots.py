"""`./arena screenshots`: install what drawing needs, then draw every page in every designed state."""

import subprocess
import sys

from app.setup import ROOT, local_home
from app.setup.extras import SetupError, extra_installed, install_extra
from app.setup.programs import get_chromium


def main(args: list[str]) -> int:
    """Draw; arguments go to ``tests.browser.screenshots``. Returns its exit code, or 1 if something is missing."""
    log = local_home() / "setup.log"
    try:
        if not extra_installed("test"):
            print("Installing the test extra (about a minute) ...", file=sys.stderr, flush=True)
            install_extra("test", log, lambda _step: None)
    except SetupError as error:
        print(f"arena: {error}", file=sys.stderr)
        return 1
    if get_chromium(log) is None:
        advice = "Install one, or name it with ARENA_CHROMIUM=/path/to/chromium."
        print(f"arena: There is no Chromium here. {advice}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "tests.browser.screenshots", *(args or [str(local_home() / "screenshots")])]
    return subprocess.run(command, cwd=ROOT, check=False).returncode
