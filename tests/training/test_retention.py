"""What is left of a finished run's checkpoints."""

from pathlib import Path

import pytest

from training.effect import Effect
from training.events import CheckpointSaved
from training.retention import remove_superfluous, superfluous


def saved(folder: Path, *losses: float | None) -> list[CheckpointSaved]:
    found = []
    for step, loss in enumerate(losses, 1):
        place = folder / f"step-{step}"
        place.mkdir()
        (place / "weights").write_bytes(b"x")
        effect = Effect(0.1, 0.1, 1.0, passed=True, reason="")
        is_last = step == len(losses)
        found.append(CheckpointSaved(place.name, step, step, place, "f" * 64, 1, loss, is_last, effect))
    return found


@pytest.mark.parametrize(
    ("losses", "keep", "left"),
    [
        ((2.0, 1.0, 1.5), "all", [1, 2, 3]),
        ((2.0, 1.0, 1.5), "best", [2]),
        ((2.0, 1.0, 1.5), "last", [3]),
        ((1.0, 1.0, 1.5), "best", [2]),  # the later of two that are equal
        ((None, None), "best", [2]),
        ((None, 3.0, None), "best", [2]),
        ((2.0,), "best", [1]),
        ((), "last", []),
    ],
)
def test_only_what_is_wanted_is_left(
    tmp_path: Path, losses: tuple[float | None, ...], keep: str, left: list[int]
) -> None:
    run = saved(tmp_path, *losses)
    gone = remove_superfluous(run, keep)
    assert gone == superfluous(run, keep)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [f"step-{step}" for step in left]
    assert sorted(one.step for one in run if one not in gone) == left
