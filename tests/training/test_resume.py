"""A run that is broken off anywhere goes on and ends with the very bits that it would have had."""

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from training import resume, sft
from training.config import Recipe, recipe_from_dict, recipe_to_dict
from training.errors import Cancelled, CheckpointWriteError, ResumeError
from training.events import CheckpointSaved, Evaluated, Event, Keeping, Started, StepDone

NOW = datetime(2026, 1, 31, tzinfo=UTC)
Train = Callable[..., list[Event]]


class KilledError(Exception):
    """The process is gone at this very moment."""


@pytest.fixture
def dropping(recipe: Recipe) -> Recipe:
    """Dropout, so that the random state counts, and a measurement in the middle of an epoch."""
    lora = replace(recipe.lora, lora_dropout=0.3)
    changed = replace(recipe, lora=lora, train=replace(recipe.train, eval_steps=2))
    return recipe_from_dict(recipe_to_dict(changed), "as if from a file")


@pytest.fixture
def train(tiny_base: Path, train_file: Path, validation_file: Path, tmp_path: Path) -> Train:
    """Train on the tiny model; ``dies_at``: the number of the event at which the process is gone."""

    def start(recipe: Recipe, out: str, *, dies_at: int = 0, **more: Any) -> list[Event]:
        events: list[Event] = more.pop("events", [])

        def told(event: Event) -> None:
            events.append(event)
            if len(events) == dies_at:
                raise KilledError

        options = {"run_name": "r", "device": "cpu", "dtype": "float32", "clock": lambda: NOW, **more}
        sft.train(recipe, tiny_base, train_file, validation_file, tmp_path / out, on_event=told, **options)
        return events

    return start


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def ends(events: list[Event]) -> dict[str, str]:
    """The fingerprint of each checkpoint that was told."""
    return {event.name: event.fingerprint for event in of(events, CheckpointSaved)}


@pytest.mark.parametrize("keep_seconds", [0.0, 1e9])
def test_broken_off_at_any_moment_it_ends_with_the_same_bits(
    train: Train, dropping: Recipe, keep_seconds: float
) -> None:
    whole = train(dropping, "whole", keep_seconds=keep_seconds)
    losses = [event.loss for event in of(whole, StepDone)]
    tokens = [event.tokens for event in of(whole, StepDone)]
    measured = [(event.step, event.loss) for event in of(whole, Evaluated)]
    for dies_at in range(1, len(whole)):
        out, events = f"broken-{dies_at}", list[Event]()
        with pytest.raises(KilledError):
            train(dropping, out, dies_at=dies_at, keep_seconds=keep_seconds, events=events)
        after = train(dropping, out, keep_seconds=keep_seconds)
        resumed = of(after, Started)[0].resumed_step
        assert resumed <= len(of(events, StepDone))
        if keep_seconds == 0:
            assert resumed >= len(of(events, StepDone)) - 1
        assert [event.loss for event in of(after, StepDone)] == losses[resumed:]
        seen = {(event.step, event.loss) for event in (*of(events, Evaluated), *of(after, Evaluated))}
        assert sorted(seen) == measured
        assert ends(events) | ends(after) == ends(whole)
        assert of(after, CheckpointSaved)[-1].is_last
        assert [event.tokens for event in of(after, StepDone)] == tokens[resumed:]


def test_killed_with_signal_nine_it_ends_with_the_same_bits(
    train: Train, dropping: Recipe, tiny_base: Path, train_file: Path, validation_file: Path, tmp_path: Path
) -> None:
    whole = train(dropping, "whole")
    program = f"""
import os, signal
from datetime import UTC, datetime
from pathlib import Path
import torch
from training import sft
from training.config import recipe_from_dict
from training.events import StepDone

torch.set_num_threads(1)

def told(event):
    if isinstance(event, StepDone) and event.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

sft.train(
    recipe_from_dict({recipe_to_dict(dropping)!r}, "test"), Path({str(tiny_base)!r}), Path({str(train_file)!r}),
    Path({str(validation_file)!r}), Path({str(tmp_path / "out")!r}), run_name="r", device="cpu", dtype="float32",
    on_event=told, keep_seconds=0,
)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2], timeout=300)
    assert ended.returncode == -signal.SIGKILL
    after = train(dropping, "out")
    assert of(after, Started)[0].resumed_step == 4
    assert ends(after)["epoch-2"] == ends(whole)["epoch-2"]
    assert resume.newest_point(tmp_path / "out") is None


def test_a_cancelled_run_goes_on_as_if_nothing_had_happened(train: Train, dropping: Recipe, tmp_path: Path) -> None:
    whole = train(dropping, "whole")
    questions = itertools.count(1)
    before: list[Event] = []
    with pytest.raises(Cancelled, match="after step 1; the checkpoint step-1 was saved"):
        # Two batches of the base's measurement, two of the first step, one of the second: half a step is given up.
        train(dropping, "out", events=before, should_stop=lambda: next(questions) == 6)
    after = train(dropping, "out")
    assert of(after, Started)[0].resumed_step == 1
    assert ends(after) == ends(whole)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["epoch-1", "epoch-2", "step-1"]


def test_a_smaller_micro_batch_is_remembered(
    train: Train, dropping: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = sft.label_losses
    sizes: list[int] = []

    def limited(model: Any, batch: Any) -> torch.Tensor:
        if torch.is_grad_enabled():
            sizes.append(len(batch.lines))
            if len(batch.lines) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(model, batch)

    monkeypatch.setattr(sft, "label_losses", limited)
    whole = train(dropping, "whole")
    with pytest.raises(KilledError):
        train(dropping, "out", dies_at=8, keep_seconds=0)
    assert resume.newest_point(tmp_path / "out") is not None
    sizes.clear()
    after = train(dropping, "out")
    assert set(sizes) == {1}
    assert ends(after) == ends(whole)


def test_only_the_newest_point_is_kept_and_none_when_the_run_is_done(
    train: Train, dropping: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KilledError):
        train(dropping, "out", dies_at=9, keep_seconds=0)
    [point] = (out / resume.FOLDER).iterdir()
    assert point == resume.newest_point(out)
    assert sorted(file.suffix for file in point.iterdir()) == [".json", ".safetensors"]
    train(dropping, "out")
    assert not (out / resume.FOLDER).exists()
    with pytest.raises(CheckpointWriteError, match="of an earlier run, which were kept"):
        train(dropping, "out")


def test_what_was_told_is_stored_before_the_point_that_goes_on_behind_it(train: Train, dropping: Recipe) -> None:
    events = train(dropping, "out", keep_seconds=0)
    for place, event in enumerate(events):
        if isinstance(event, Keeping):
            assert of(events[:place], StepDone)[-1].step == event.step


@pytest.mark.parametrize("what", ["recipe", "data", "software"])
def test_another_run_does_not_go_on_with_it(
    train: Train, dropping: Recipe, tmp_path: Path, train_file: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with pytest.raises(KilledError):
        train(dropping, "out", dies_at=6, keep_seconds=0)
    point = resume.newest_point(tmp_path / "out")
    other = dropping
    if what == "recipe":
        other = replace(dropping, train=replace(dropping.train, learning_rate=1e-3))
    elif what == "software":
        monkeypatch.setattr(resume, "version", lambda _package: "1.0")
    else:
        kept = train_file.read_text(encoding="utf-8")
        train_file.write_text(kept + "\n", encoding="utf-8")
    try:
        with pytest.raises(ResumeError, match="was broken off with another recipe, base model, data"):
            train(other, "out")
    finally:
        if what == "data":
            train_file.write_text(kept, encoding="utf-8")
    assert resume.newest_point(tmp_path / "out") == point


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}'])
@pytest.mark.parametrize("name", [resume.STATE, resume.TENSORS])
def test_a_broken_point_is_refused_and_kept(
    train: Train, dropping: Recipe, tmp_path: Path, name: str, content: bytes
) -> None:
    with pytest.raises(KilledError):
        train(dropping, "out", dies_at=6, keep_seconds=0)
    point = resume.newest_point(tmp_path / "out")
    assert point is not None
    (point / name).write_bytes(content)
    with pytest.raises(ResumeError, match=r"is broken .*remove it to train from the start"):
        train(dropping, "out")
    assert (point / name).read_bytes() == content
