"""Several datasets in one run: what an epoch sees, what is measured and recorded, and that it goes on bit for bit."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.tiny_model import write_conversations
from training import mixing, sft
from training.checkpoint import read_manifest
from training.config import Recipe, recipe_from_dict, recipe_to_dict
from training.data import Encoded, Row
from training.errors import RecipeError
from training.events import CheckpointSaved, Evaluated, Event, Started, StepDone
from training.mixing import Mix, Source
from training.tensor_files import hash_file


class KilledError(Exception):
    """The process is gone at this very moment."""


def source(name: str, weight: float, count: int) -> Source:
    rows = tuple(Row(line, (1, 2), (False, True), name) for line in range(count))
    return Source(name, weight, Encoded(rows, ()))


@given(
    parts=st.lists(st.tuples(st.floats(0.05, 4), st.integers(1, 12)), min_size=1, max_size=3),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 5),
)
def test_an_epoch_sees_each_row_as_often_as_its_weight_says(
    parts: list[tuple[float, int]], seed: int, epoch: int
) -> None:
    mix = Mix(tuple(source(str(place), *part) for place, part in enumerate(parts)), seed)
    rows = mix.rows_of(epoch)
    assert len(rows) == mix.rows_per_epoch
    assert rows == mix.rows_of(epoch)
    seen = Counter((row.source, row.line) for row in rows)
    for place, (weight, count) in enumerate(parts):
        times = [seen[str(place), line] for line in range(count)]
        assert sum(times) == int(weight) * count + round((weight - int(weight)) * count)
        assert {int(weight), int(weight) + 1} >= set(times)


def test_one_dataset_with_weight_one_is_the_file_as_it_stands() -> None:
    one = source("", 1.0, 9)
    assert list(Mix((one,), 5).rows_of(3)) == list(one.encoded.rows)


def test_a_part_is_drawn_anew_each_epoch_and_for_each_dataset_by_itself() -> None:
    mix = Mix((source("a", 0.5, 40), source("b", 0.5, 40)), 17)
    drawn = {
        (name, epoch): [row.line for row in mix.rows_of(epoch) if row.source == name]
        for name in ("a", "b")
        for epoch in range(2)
    }
    assert len({tuple(lines) for lines in drawn.values()}) == 4


def test_the_preview_takes_turns() -> None:
    mix = Mix((source("a", 2, 1), source("b", 1, 3)), 0)
    assert [(row.source, row.line) for row in mix.first_rows(3)] == [("a", 0), ("b", 0), ("b", 1)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, dict[str, Path]]:
    """Training and validation files of two datasets."""
    return {
        "train": {
            "cheese": write_conversations(tmp_path / "cheese.jsonl", 6),
            "notes@2": write_conversations(tmp_path / "notes.jsonl", 8, first=100),
        },
        "validation": {
            "cheese": write_conversations(tmp_path / "cheese.val.jsonl", 2, first=50),
            "notes@2": write_conversations(tmp_path / "notes.val.jsonl", 3, first=150),
        },
    }


@pytest.fixture
def mixed(recipe: Recipe) -> Recipe:
    lora = replace(recipe.lora, lora_dropout=0.3)
    changed = replace(recipe, dataset="", mix={"cheese": 2.0, "notes@2": 0.5}, lora=lora)
    return recipe_from_dict(recipe_to_dict(changed), "as if from a file")


def train(recipe: Recipe, base: Path, files: dict[str, Any], out: Path, *, dies_at: int = 0) -> list[Event]:
    events: list[Event] = []

    def told(event: Event) -> None:
        events.append(event)
        if len(events) == dies_at:
            raise KilledError

    sft.train(
        recipe, base, files["train"], files["validation"], out, run_name="r", device="cpu", dtype="float32",
        on_event=told, keep_seconds=0,
    )  # fmt: skip
    return events


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_mix_is_trained_measured_on_all_its_files_and_recorded(
    mixed: Recipe, tiny_base: Path, files: dict[str, dict[str, Path]], recipe: Recipe, tmp_path: Path
) -> None:
    events = train(mixed, tiny_base, files, tmp_path / "out")
    [started] = of(events, Started)
    assert (started.train_rows, started.validation_rows) == (2 * 6 + 4, 5)
    assert started.total_steps == 2 * 4  # 16 rows, two in a batch, two batches in a step, two epochs
    manifest = read_manifest(of(events, CheckpointSaved)[-1].folder)
    assert manifest.facts.datasets == {
        f"{name}/{split}": hash_file(files[split][name]) for name in mixed.mix for split in ("train", "validation")
    }
    assert manifest.facts.recipe["mix"] == {"cheese": 2.0, "notes@2": 0.5}
    base_loss = of(events, Evaluated)[0]
    parts = []
    for name in mixed.mix:
        alone = {split: files[split][name] for split in files}
        parts.append(of(train(recipe, tiny_base, alone, tmp_path / name), Evaluated)[0])
    assert base_loss.tokens == sum(part.tokens for part in parts)
    together = sum(part.loss * part.tokens for part in parts) / base_loss.tokens
    assert base_loss.loss == pytest.approx(together, rel=1e-6)


def test_broken_off_at_any_step_it_ends_with_the_same_bits(
    mixed: Recipe, tiny_base: Path, files: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    whole = train(mixed, tiny_base, files, tmp_path / "whole")
    told = [place for place, event in enumerate(whole, 1) if isinstance(event, StepDone)]
    for dies_at in told[::3]:
        out = tmp_path / f"broken-{dies_at}"
        with pytest.raises(KilledError):
            train(mixed, tiny_base, files, out, dies_at=dies_at)
        after = train(mixed, tiny_base, files, out)
        assert of(after, CheckpointSaved)[-1].fingerprint == of(whole, CheckpointSaved)[-1].fingerprint


def test_the_order_in_which_a_mix_is_written_does_not_matter(recipe: Recipe) -> None:
    """Postgres sorts the keys of what it stores as JSON in its own way."""
    content = recipe_to_dict(recipe) | {"dataset": ""}
    orders = ({"notes": 1, "cheese": 2}, {"cheese": 2, "notes": 1})
    found = [list(recipe_from_dict(content | {"mix": mix}, "here").mix) for mix in orders]
    assert found == [["cheese", "notes"]] * 2


def test_lines_are_named_with_their_dataset() -> None:
    rows = [Row(5, (1,), (True,), "notes@2"), Row(3, (1,), (True,), "cheese"), Row(4, (1,), (True,), "cheese")]
    assert sft._lines(rows) == "cheese:3, cheese:4, notes@2:5"


def test_files_that_are_not_those_of_the_mix_are_refused(
    mixed: Recipe, recipe: Recipe, tiny_base: Path, files: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    only = {split: {"cheese": files[split]["cheese"]} for split in files}
    one = {split: files[split]["cheese"] for split in files}
    for which, given_files, reason in (
        (mixed, only, "of notes@2 a training or validation file is missing"),
        (mixed, one, "of cheese a training or validation file is missing"),
        (recipe, files, "names one dataset"),
        (
            replace(mixed, mix={"cheese": 1.0, "notes@2": 0.01}),
            files,
            r"mix\.notes@2 = 0\.01 is less than one of its 8",
        ),
    ):
        with pytest.raises(RecipeError, match=reason):
            train(which, tiny_base, given_files, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mix", "reason"),
    [
        ({"a": 0}, r"mix\.a must be a number above 0"),
        ({"a": "2"}, r"mix\.a must be a number"),
        ({"a": True}, r"mix\.a must be a number"),
        ({"a": 101}, "not above 100"),
        ([], "must be a table of datasets and weights"),
        ({}, "name one dataset, or several"),
    ],
)
def test_a_recipe_with_an_unusable_mix_is_refused(recipe: Recipe, mix: object, reason: str) -> None:
    content = recipe_to_dict(recipe) | {"dataset": "", "mix": mix}
    with pytest.raises(RecipeError, match=reason):
        recipe_from_dict(content, "here")
    with pytest.raises(RecipeError, match="one of the two is needed"):
        recipe_from_dict(recipe_to_dict(recipe) | {"mix": {"a": 1}}, "here")


def test_on_the_command_line_each_file_is_given_with_its_dataset(
    mixed: Recipe, tiny_base: Path, files: dict[str, dict[str, Path]], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe_file = tmp_path / "mixed.toml"
    recipe_file.write_text(
        'name = "m"\nkind = "sft"\nbase_model = "tiny"\n[mix]\ncheese = 2\n"notes@2" = 0.5\n[train]\nmax_steps = 1\n',
        encoding="utf-8",
    )
    given_files = [
        part for split in files for name, file in files[split].items() for part in (f"--{split}", f"{name}={file}")
    ]
    common = [str(recipe_file), "--base", str(tiny_base), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert sft.main([*common, *given_files]) == 0
    assert "saved step-1" in capsys.readouterr().out
    twice = ["--train", "cheese=a", "--train", "cheese=b", "--validation", "c"]
    assert sft.main([*common, *twice]) == 1
    assert "NAME=FILE" in capsys.readouterr().err
    assert mixing.weights_of(mixed.mix, files["train"], files["validation"])[0][:2] == ("cheese", 2.0)
