"""Which checkpoints of a run that is done are left, where no arena keeps account of them.

An arena removes them itself (``app.services.removal``), as it knows which of them a result depends on.
"""

import math
import shutil
from collections.abc import Sequence

from training.events import CheckpointSaved


def superfluous(saved: Sequence[CheckpointSaved], keep: str) -> tuple[CheckpointSaved, ...]:
    """Those that go, in the order in which they were saved.

    Args:
        saved: all of the run.
        keep: "all", "best" (the lowest validation loss; the later of two that are equal; the last where none was
            measured) or "last".
    """
    if keep == "all" or not saved:
        return ()
    left = saved[-1] if keep == "last" else min(reversed(saved), key=_loss)
    return tuple(one for one in saved if one is not left)


def remove_superfluous(saved: Sequence[CheckpointSaved], keep: str) -> tuple[CheckpointSaved, ...]:
    """Remove their folders; returns what was removed."""
    gone = superfluous(saved, keep)
    for one in gone:
        shutil.rmtree(one.folder, ignore_errors=True)
    return gone


def _loss(one: CheckpointSaved) -> float:
    return math.inf if one.validation_loss is None else one.validation_loss
