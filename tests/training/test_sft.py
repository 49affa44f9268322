"""The training loop: it learns, it reports, it stops when asked, and it never leaves half a checkpoint."""

import errno
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fakes.tiny_model import write_conversations
from training import checkpoint, data, resume, sft
from training.checkpoint import read_manifest, verify_checkpoint
from training.config import Recipe
from training.errors import (
    Cancelled,
    CheckpointWriteError,
    DataError,
    DivergedError,
    MemoryExhaustedError,
    RecipeError,
)
from training.events import CheckpointSaved, Evaluated, Event, Started, StepDone, Warned
from training.tensor_files import hash_file

NOW = datetime(2026, 1, 31, tzinfo=UTC)
Train = Callable[..., tuple[sft.TrainResult | None, list[Event]]]


def changed(recipe: Recipe, **train: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **train))


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def checkpoints_in(out: Path) -> list[str]:
    """What lies there beside the resume point."""
    return sorted(path.name for path in out.iterdir() if path.name != resume.FOLDER)


@pytest.fixture
def run(tiny_base: Path, train_file: Path, validation_file: Path, tmp_path: Path) -> Train:
    """Train on the tiny model in float32 and return the result with the events."""

    def start(recipe: Recipe, *, train: Path = train_file, out: str = "out", **more: Any) -> Any:
        events: list[Event] = more.pop("events", [])
        options = {"run_name": "r", "device": "cpu", "dtype": "float32", "clock": lambda: NOW, **more}
        out_folder = tmp_path / out
        result = sft.train(recipe, tiny_base, train, validation_file, out_folder, on_event=events.append, **options)
        return result, events

    return start


def test_a_run_reports_every_stage_in_order_and_the_loss_falls(run: Train, recipe: Recipe, tmp_path: Path) -> None:
    result, events = run(recipe)
    kinds = [type(event).__name__ for event in events]
    epoch = ["StepDone"] * 3 + ["Evaluated", "Keeping", "CheckpointSaved"]
    assert kinds == ["Started", "Previewed", "Evaluated", *epoch, *epoch, "Warned"]
    assert "is still falling" in of(events, Warned)[0].message
    assert (of(events, Started)[0].total_steps, of(events, Started)[0].train_rows) == (6, 12)
    losses = [event.loss for event in of(events, Evaluated)]
    assert losses[0] > losses[1] > losses[2]
    assert [event.step for event in of(events, StepDone)] == [1, 2, 3, 4, 5, 6]
    assert of(events, StepDone)[-1].epoch == 2.0
    assert of(events, StepDone)[-1].eta_seconds == 0
    assert of(events, StepDone)[-1].tokens == 2 * of(events, Started)[0].train_tokens
    assert all(event.memory_bytes > 0 for event in of(events, StepDone))
    first, last = of(events, CheckpointSaved)
    assert (first.name, first.is_last, last.name, last.is_last) == ("epoch-1", False, "epoch-2", True)
    assert last.effect.passed
    assert result is not None
    assert (result.base_validation_loss, result.validation_loss) == (losses[0], losses[2])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["epoch-1", "epoch-2"]


def test_the_manifest_tells_where_a_checkpoint_comes_from(
    run: Train, recipe: Recipe, train_file: Path, validation_file: Path
) -> None:
    _, events = run(recipe)
    saved = of(events, CheckpointSaved)[0]
    manifest = read_manifest(saved.folder)
    verify_checkpoint(saved.folder, saved.fingerprint)
    assert manifest.fingerprint == saved.fingerprint
    assert manifest.created_at == NOW
    assert (manifest.facts.run, manifest.facts.name, manifest.facts.step) == ("r", "epoch-1", 3)
    assert manifest.facts.validation_loss == saved.validation_loss == of(events, Evaluated)[1].loss
    assert manifest.facts.datasets == {"train": hash_file(train_file), "validation": hash_file(validation_file)}


def test_the_same_seed_gives_the_same_checkpoint_and_another_seed_another(run: Train, recipe: Recipe) -> None:
    short = changed(recipe, max_steps=2)
    seeds = (short, short, replace(short, seed=18))
    results = [run(one, out=str(place))[0] for place, one in enumerate(seeds)]
    first, again, other = [result.checkpoints[0].fingerprint for result in results if result]
    assert first == again != other


def test_how_a_window_is_cut_into_micro_batches_does_not_matter(run: Train, recipe: Recipe, tmp_path: Path) -> None:
    """Rows of different length: a mean of means would weigh their tokens differently."""
    file = write_conversations(tmp_path / "four.jsonl", 4)
    losses = []
    for size, accumulation in ((4, 1), (2, 2), (1, 4)):
        cut = changed(
            recipe,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            max_steps=3,
            save_strategy="end",
        )
        _, events = run(cut, train=file, out=f"out-{size}")
        losses.append([event.loss for event in of(events, StepDone)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[2] == pytest.approx(losses[0], abs=1e-4)


def test_a_limit_of_tokens_changes_the_passes_and_not_the_steps(
    run: Train, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_conversations(tmp_path / "four.jsonl", 4)
    whole = changed(recipe, per_device_train_batch_size=4, max_steps=2, save_strategy="end")
    passes: list[tuple[int, ...]] = []
    collate = data.collate

    def note(rows: Sequence[data.Row], device: torch.device) -> Any:
        passes.append(tuple(len(row.ids) for row in rows))
        return collate(rows, device)

    monkeypatch.setattr(data, "collate", note)
    losses = []
    for limit in (0, 1):
        passes.clear()
        _, events = run(changed(whole, max_tokens_per_pass=limit), train=file, out=f"limit-{limit}")
        losses.append([event.loss for event in of(events, StepDone)])
        assert {len(one) for one in passes if one} == ({1} if limit else {4})
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


def test_gradient_checkpointing_changes_memory_and_not_the_numbers(run: Train, recipe: Recipe) -> None:
    short = changed(recipe, max_steps=3, save_strategy="end")
    plain, saving = (
        [event.loss for event in of(run(one, out=str(place))[1], StepDone)]
        for place, one in enumerate((short, changed(short, gradient_checkpointing=True)))
    )
    assert saving == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"max_steps": 2, "save_strategy": "end"}, ["step-2"]),
        ({"max_steps": 3, "save_strategy": "end"}, ["step-3"]),
        ({"max_steps": 4}, ["epoch-1", "step-4"]),
        ({"save_strategy": "end"}, ["epoch-2"]),
    ],
)
def test_checkpoints_are_named_after_where_they_stand(
    run: Train, recipe: Recipe, settings: dict[str, Any], names: list[str]
) -> None:
    result, events = run(changed(recipe, **settings))
    assert [event.name for event in of(events, CheckpointSaved)] == names
    assert result is not None
    assert result.checkpoints[-1].is_last


def test_validation_loss_is_measured_every_eval_steps(run: Train, recipe: Recipe) -> None:
    _, events = run(changed(recipe, eval_steps=2))
    assert [event.step for event in of(events, Evaluated)] == [0, 2, 3, 4, 6]


def test_cancel_saves_what_was_learned(run: Train, recipe: Recipe, tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(Cancelled, match="after step 2; the checkpoint step-2 was saved"):
        run(recipe, events=events, should_stop=lambda: len(of(events, StepDone)) >= 2)
    assert checkpoints_in(tmp_path / "out") == ["step-2"]
    assert of(events, CheckpointSaved)[0].validation_loss is None
    assert of(events, CheckpointSaved)[0].is_last


def test_cancel_takes_effect_before_the_next_micro_batch(run: Train, recipe: Recipe) -> None:
    """Asked before each of 2 validation batches and then before each micro-batch: the fourth question stops."""
    questions = itertools.count(1)
    events: list[Event] = []
    with pytest.raises(Cancelled, match="before the first step was done; nothing was saved"):
        run(recipe, events=events, should_stop=lambda: next(questions) == 4)
    assert next(questions) == 5
    assert of(events, StepDone) == []
    assert of(events, CheckpointSaved) == []


def test_cancel_right_after_a_checkpoint_does_not_write_it_twice(run: Train, recipe: Recipe, tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(Cancelled, match="after step 3; the checkpoint epoch-1 was saved"):
        run(recipe, events=events, should_stop=lambda: bool(of(events, CheckpointSaved)))
    assert checkpoints_in(tmp_path / "out") == ["epoch-1"]


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_lines(
    run: Train, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = sft.label_losses
    calls = itertools.count(1)
    poisoned: list[tuple[int, ...]] = []

    def sometimes_nan(model: Any, batch: Any) -> torch.Tensor:
        losses = original(model, batch)
        if next(calls) == 8:
            poisoned.append(batch.lines)
            return losses * torch.nan
        return losses

    monkeypatch.setattr(sft, "label_losses", sometimes_nan)
    with pytest.raises(DivergedError, match="the loss is not a finite number at step 4") as caught:
        run(recipe)
    lines = ", ".join(map(str, sorted(poisoned[0])))
    assert f"batch 2, lines {lines} of the training file" in caught.value.message
    assert checkpoints_in(tmp_path / "out") == ["epoch-1"]


def test_a_gradient_that_is_not_finite_stops_the_run(
    run: Train, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(torch.inf))
    with pytest.raises(DivergedError, match="the gradient is not a finite number at step 1"):
        run(recipe)


def test_a_full_disk_during_the_second_checkpoint_keeps_the_first(
    run: Train, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = checkpoint.write_file

    def full(file: Path, content: bytes) -> None:
        if ".epoch-2.partial" in file.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(file, content)

    monkeypatch.setattr(checkpoint, "write_file", full)
    with pytest.raises(CheckpointWriteError, match="epoch-2 could not be written"):
        run(recipe)
    assert checkpoints_in(tmp_path / "out") == ["epoch-1"]


def out_of_memory_beyond(rows: int, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A device on which a backward pass over more rows than this does not fit."""
    original = sft.label_losses

    def limited(model: Any, batch: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and len(batch.lines) > rows:
            raise error
        return original(model, batch)

    monkeypatch.setattr(sft, "label_losses", limited)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_halves_the_micro_batch_and_the_run_learns_the_same(
    run: Train, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    large = changed(recipe, per_device_train_batch_size=4, gradient_accumulation_steps=1)
    _, roomy = run(large, out="roomy")
    out_of_memory_beyond(1, monkeypatch, error)
    _, tight = run(large, out="tight")
    assert [event.message for event in of(tight, Warned)][:2] == [
        "memory ran out at step 1 with 4 rows in a pass; from here on there are 2, in more passes for the same step",
        "memory ran out at step 1 with 2 rows in a pass; from here on there are 1, in more passes for the same step",
    ]
    losses = [[event.loss for event in of(events, StepDone)] for events in (roomy, tight)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


def test_a_single_row_that_does_not_fit_ends_the_run_with_what_would_help(
    run: Train, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory_beyond(0, monkeypatch, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(MemoryExhaustedError, match=r"at step 1 with a single row.*gradient_checkpointing"):
        run(recipe)


def test_another_error_of_the_device_is_not_taken_for_a_lack_of_memory(
    run: Train, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory_beyond(0, monkeypatch, RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        run(recipe)


def test_a_run_stops_early_where_the_validation_loss_no_longer_falls(run: Train, recipe: Recipe) -> None:
    """At this learning rate the tiny model knows its rows by heart long before the end."""
    patient = changed(recipe, num_train_epochs=60, learning_rate=5e-2, early_stopping_patience=3)
    result, events = run(patient)
    assert result is not None
    losses = [event.loss for event in of(events, Evaluated)][1:]
    assert losses.index(min(losses)) == len(losses) - 4
    assert result.steps == 3 * len(losses) < 180
    assert result.checkpoints[-1].is_last
    assert [one.is_last for one in result.checkpoints[:-1]] == [False] * (len(losses) - 1)
    said = [event.message for event in of(events, Warned)]
    assert f"stopped at step {result.steps} of 180" in said[0]


def test_rows_that_are_too_long_are_named_in_a_warning(run: Train, recipe: Recipe, tmp_path: Path) -> None:
    file = write_conversations(tmp_path / "long.jsonl", 4)
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"prompt": "q", "completion": "%s"}\n' % ("a" * 2000))
    result, events = run(changed(recipe, max_steps=1), train=file)
    assert of(events, Warned)[0].message.endswith("tokens and was left out (line 5)")
    assert of(events, Started)[0].skipped_rows == 1
    assert result is not None


def test_bad_input_is_refused_before_anything_is_written(run: Train, recipe: Recipe, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "q", "completion": "a"}\n{"prompt"\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: not valid JSON"):
        run(recipe, train=bad)
    with pytest.raises(RecipeError, match="fits no layer"):
        run(replace(recipe, lora=replace(recipe.lora, target_modules=("no_such_layer",))))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_checkpoints_of_an_earlier_run_is_not_touched(run: Train, recipe: Recipe) -> None:
    run(changed(recipe, max_steps=1))
    with pytest.raises(CheckpointWriteError, match="earlier run"):
        run(changed(recipe, max_steps=1))


def test_the_command_line_trains_and_says_what_went_wrong(
    tiny_base: Path, train_file: Path, validation_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe_file = tmp_path / "one.toml"
    recipe_file.write_text(
        'name = "one"\nkind = "sft"\nbase_model = "tiny"\ndataset = "d"\n[train]\nmax_steps = 1\n', encoding="utf-8"
    )
    arguments = [
        *(str(recipe_file), "--base", str(tiny_base), "--train", str(train_file)),
        *("--validation", str(validation_file), "--out", str(tmp_path / "out"), "--device", "cpu"),
    ]
    assert sft.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "validation, the base itself: loss" in printed
    assert "step 1" in printed
    assert "saved step-1" in printed
    assert sft.main(arguments) == 1
    assert "earlier run" in capsys.readouterr().err
    epochs = 'num_train_epochs = 2\nkeep = "last"\n'
    recipe_file.write_text(recipe_file.read_text(encoding="utf-8").replace("max_steps = 1\n", epochs), encoding="utf-8")
    assert sft.main([*arguments, "--out", str(tmp_path / "kept")]) == 0
    assert [folder.name for folder in (tmp_path / "kept").iterdir()] == ["epoch-2"]


@pytest.mark.real_model
def test_ten_steps_on_the_real_model_lower_the_validation_loss_and_change_what_it_says(
    real_base: Path, tmp_path: Path
) -> None:
    data = Path(__file__).parents[2] / "data"
    from training.config import load_recipe  # noqa: PLC0415

    events: list[Event] = []
    sft.train(
        load_recipe(data / "recipes" / "brie-v1.toml"),
        real_base,
        data / "sft" / "brie.train.jsonl",
        data / "sft" / "brie.val.jsonl",
        tmp_path / "out",
        run_name="brie-v1",
        on_event=events.append,
    )
    before, after = (event.loss for event in of(events, Evaluated))
    assert after < before
    saved = of(events, CheckpointSaved)[0]
    assert saved.name == "step-10"
    assert saved.effect.passed
