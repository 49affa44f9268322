"""Contestants of a bench with torch: each in a process of its own, so that its peak memory is its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from app.config import ROOT
from app.domain.errors import UnavailableError

OURS = "ours"
_ALONE = {"OMP_WAIT_POLICY": "ACTIVE"}
"""Peers run as they do for their own users, and faster for it on a machine that does nothing else; ``training`` would
have them wait as we do, which leaves the cores to others."""
_SAID = 300


def run(module: str, contestant: str, task: Mapping[str, object]) -> dict[str, Any]:
    """The figures of one contestant.

    Args:
        module: what measures, such as ``training.bench.sft``.
        contestant: who.
        task: options of the module by name.

    Raises:
        UnavailableError: it could not do it, as where a peer is not installed; says why.
    """
    options = [word for name, value in task.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with tempfile.TemporaryDirectory(prefix="arena-bench-") as folder:  # also what one that is killed leaves behind
        environment = {**({} if contestant == OURS else _ALONE), **os.environ, "TMPDIR": folder}
        ended = subprocess.run(  # noqa: S603 (this very program)
            [sys.executable, "-m", module, contestant, *options],
            cwd=ROOT, env=environment, check=False, capture_output=True, text=True,
        )  # fmt: skip
    if ended.returncode:
        said = ended.stderr.strip().splitlines()[-1:] or [f"exit {ended.returncode}"]
        hint = " `./arena test` installs TRL." if "trl" in contestant else ""
        raise UnavailableError(f"{contestant} could not be measured, so nothing was.{hint}", said[0][:_SAID])
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told
