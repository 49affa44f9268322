"""What the course of the validation loss says about how long to train, in words."""

from collections.abc import Sequence

from training.events import Evaluated

_SAME = 0.005
"""Less than this share is no change that anybody should train for."""


def measurements_since_best(evaluated: Sequence[Evaluated]) -> int:
    """How many measurements of the adapter have passed since the one with the lowest loss. The first is the base's."""
    losses = [one.loss for one in evaluated[1:]]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def advice(evaluated: Sequence[Evaluated]) -> str:
    """One sentence at the end of a run, or "" where there is nothing to say.

    Args:
        evaluated: every measurement in its order; the first is that of the base itself.
    """
    trained = evaluated[1:]
    if not trained:
        return ""
    last, best = trained[-1], min(trained, key=lambda one: one.loss)
    if last.loss > (1 + _SAME) * best.loss:
        return (
            f"the validation loss was lowest at step {best.step} ({best.loss:.3f}) and is {last.loss:.3f} at the end: "
            "the last checkpoint is not the best one"
        )
    if last.loss > evaluated[0].loss:
        return (
            f"the validation loss of the base is {evaluated[0].loss:.3f} and that of the adapter {last.loss:.3f}: it "
            "has not learned what the validation file holds"
        )
    if len(trained) > 1 and last.loss < (1 - _SAME) * min(one.loss for one in trained[:-1]):
        return (
            f"the validation loss is still falling ({trained[-2].loss:.3f} to {last.loss:.3f} at the last "
            "measurement): longer training may get further, this is not where it ends"
        )
    return ""
