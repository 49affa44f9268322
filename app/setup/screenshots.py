"""`./arena screenshots`: install what drawing needs, then draw every page in every designed state."""

import subprocess
import sys
from pathlib import Path

from app.setup import ROOT, local_home
from app.setup.extras import SetupError, extra_installed, install_extra
from app.setup.programs import get_chromium


def main(*, out: Path | None, states: list[str], page: str, width: int, scheme: str, readme: bool) -> int:
    """Draw with ``tests.browser.screenshots``; returns its exit code.

    Args:
        out: folder to draw into; ``screenshots`` in the local state by default.
        states: only these designed states; all of them when there are none.
        page: only pages whose name contains this.
        width: only this width; both for 0.
        scheme: only ``light`` or ``dark``; both when empty.
        readme: the pictures of the README and nothing else.

    Raises:
        SetupError: something that drawing needs is missing and could not be installed.
    """
    log = local_home() / "setup.log"
    if not extra_installed("test"):
        print("Installing the test extra (about a minute) ...", file=sys.stderr, flush=True)
        install_extra("test", log, lambda _step: None)
    if get_chromium(log) is None:
        raise SetupError("There is no Chromium here. Install one, or name it with ARENA_CHROMIUM=/path/to/chromium.")
    # The drawing runs in the checkout; a folder that was named is the caller's.
    folder = out.resolve() if out else local_home().resolve() / "screenshots"
    command = [sys.executable, "-m", "tests.browser.screenshots", str(folder), *states]
    options = {"--page": page, "--width": width and str(width), "--scheme": scheme}
    command += [part for name, value in options.items() if value for part in (name, str(value))]
    return subprocess.run([*command, *(["--readme"] if readme else [])], cwd=ROOT, check=False).returncode
