"""Several processes train one run: the same update as one, and what befalls one is heard by all."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.fakes.tiny_model import write_conversations
from training import parallel, resume, sft
from training.checkpoint import read_manifest
from training.config import Recipe, recipe_to_dict
from training.data import Row
from training.errors import BaseModelError, Cancelled
from training.events import Evaluated, Event, StepDone
from training.parallel import ALONE, Peers, Word
from training.schedule import Window

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def row(length: int, line: int = 1) -> Row:
    return Row(line, (7,) * length, (True,) * length)


batches = st.lists(st.lists(st.integers(2, 400).map(row), min_size=1, max_size=5), min_size=1, max_size=12)


@given(batches, st.integers(1, 6))
def test_every_batch_is_taken_by_one_process_in_as_many_rounds_for_all(dealt: list[list[Row]], count: int) -> None:
    shares = [Peers(rank, count).share(dealt) for rank in range(count)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(place for share in shares for place in share if place is not None) == list(range(len(dealt)))


@given(batches, st.integers(2, 6))
def test_no_process_has_more_to_do_than_another_by_more_than_one_batch(dealt: list[list[Row]], count: int) -> None:
    sizes = [len(batch) * max(len(one.ids) for one in batch) for batch in dealt]
    loads = [
        sum(sizes[place] for place in Peers(rank, count).share(dealt) if place is not None) for rank in range(count)
    ]
    assert max(loads) - min(loads) <= max(sizes)


@given(batches, st.integers(1, 6))
def test_a_window_is_cut_until_there_is_something_for_all(dealt: list[list[Row]], count: int) -> None:
    window = Window(0, tuple(map(tuple, dealt)), ends_epoch=False, epoch_done=0.5)
    spread = Peers(0, count).spread(window)
    rows = [one for batch in dealt for one in batch]
    assert [one for batch in spread.batches for one in batch] == rows
    assert len(spread.batches) >= min(count, len(rows))
    assert spread == window or len(dealt) < count


def test_alone_everything_is_as_it_was() -> None:
    state = resume.random_state(CPU)
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = gradient = torch.ones(2)
    ALONE.sum_gradients([parameter])
    assert parameter.grad is gradient
    assert ALONE.collect(state) == ALONE.own(state) == state
    assert ALONE.put_together({1: 2.5, 0: 1.0}, 2) == [1.0, 2.5]
    assert ALONE.on_first(lambda: "made") == "made"
    assert (ALONE.agree(Word.STOP), ALONE.any(False), ALONE.label) == (Word.STOP, False, "")
    with pytest.raises(Cancelled):
        ALONE.go_on(stop=True)


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with parallel.joined("cpu") as peers:
        assert peers is ALONE


def test_a_device_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(parallel, "pick_device", lambda _wanted: torch.device("mps"))
    with pytest.raises(BaseModelError, match="cannot share the device mps"), parallel.joined("auto"):
        pass
    monkeypatch.setattr(parallel, "pick_device", lambda _wanted: torch.device("cuda"))
    monkeypatch.setenv("LOCAL_RANK", "64")
    with pytest.raises(BaseModelError, match="lower --nproc_per_node"), parallel.joined("auto"):
        pass


# ------------------------------------------------------------------------------------------ with real processes


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def torchrun(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Two processes of this Python, as a person would start them."""
    return subprocess.run(
        [*TORCHRUN, *arguments], check=False, cwd=ROOT, timeout=500, capture_output=True, text=True, env=ENVIRONMENT
    )


def write_recipe(path: Path, recipe: Recipe) -> Path:
    """As TOML; every value of this recipe looks the same in JSON."""
    told = recipe_to_dict(recipe)
    tables = {name: told.pop(name) for name in ("lora", "train")}
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def apart(one: Path, other: Path) -> float:
    """The largest distance of two weights of the same name, in lengths of the second."""
    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    return max(float((mine[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)


@pytest.fixture
def odd_file(tmp_path: Path) -> Path:
    """Thirteen rows: by four, the last window has a single one."""
    return write_conversations(tmp_path / "odd.jsonl", 13)


@pytest.mark.parametrize(("size", "accumulation"), [(2, 3), pytest.param(4, 1, marks=pytest.mark.slow)])
def test_two_processes_end_where_one_does(
    tiny_base: Path, odd_file: Path, validation_file: Path, recipe: Recipe, tmp_path: Path, size: int, accumulation: int
) -> None:
    settings = replace(
        recipe.train, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation, learning_rate=1e-3
    )
    recipe = replace(recipe, train=settings)
    events: list[Event] = []
    sft.train(
        recipe, tiny_base, odd_file, validation_file, tmp_path / "one", run_name="tiny", device="cpu", dtype="float32",
        on_event=events.append,
    )  # fmt: skip
    ended = torchrun(
        *("-m", "training.sft", str(write_recipe(tmp_path / "recipe.toml", recipe)), "--base", str(tiny_base)),
        *("--train", str(odd_file), "--validation", str(validation_file), "--out", str(tmp_path / "two")),
        *("--device", "cpu", "--dtype", "float32"),
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["epoch-1", "epoch-2"]
    for name in ("epoch-1", "epoch-2"):
        assert apart(tmp_path / "two" / name, tmp_path / "one" / name) < 1e-5
        mine, theirs = (read_manifest(tmp_path / where / name).facts for where in ("two", "one"))
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-6)
        assert mine.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-6)
    # One process reports, and what it reports is of the whole run.
    steps = [event for event in events if isinstance(event, StepDone)]
    assert len(re.findall(r"^step \d+ ", ended.stdout, re.MULTILINE)) == len(steps)
    base_loss = next(event.loss for event in events if isinstance(event, Evaluated))
    assert f"validation, the base itself: loss {base_loss:.4f}" in ended.stdout


@pytest.mark.slow
def test_an_interrupt_reaches_all_and_what_was_learned_is_saved(
    tiny_base: Path, train_file: Path, validation_file: Path, recipe: Recipe, tmp_path: Path
) -> None:
    endless = replace(recipe, train=replace(recipe.train, max_steps=100_000, learning_rate=1e-4, save_strategy="end"))
    command = [
        *(*TORCHRUN, "-m", "training.sft", str(write_recipe(tmp_path / "recipe.toml", endless))),
        *("--base", str(tiny_base), "--train", str(train_file), "--validation", str(validation_file)),
        *("--out", str(tmp_path / "out"), "--device", "cpu", "--dtype", "float32"),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:  # fmt: skip
        assert running.stdout is not None
        next(line for line in running.stdout if line.startswith("step 3 "))
        running.send_signal(signal.SIGINT)
        _, complained = running.communicate(timeout=200)
    assert running.returncode != 0
    found = re.findall(
        r"^process (\d) of 2: cancelled after step \d+; the checkpoint (step-\d+) was saved$", complained, re.MULTILINE
    )
    assert sorted(number for number, _ in found) == ["1", "2"]
    (name,) = {name for _, name in found}
    assert (tmp_path / "out" / name / "manifest.json").is_file()


PROGRAM = """
import itertools, json, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import torch
from training import sft
from training.config import recipe_from_dict
from training.errors import TrainingError
from training.events import StepDone, Warned
from training.parallel import joined

torch.set_num_threads(1)
told = json.loads(Path(sys.argv[1]).read_text())
original = sft.label_losses


def train(peers, out, on_event=lambda _event: None, **more):
    try:
        result = sft.train(
            recipe_from_dict(told["recipe"], "test"), Path(told["base"]), Path(told["train"]),
            Path(told["validation"]), Path(told["out"]) / out, run_name="r", device="cpu", dtype="float32",
            clock=lambda: datetime(2026, 1, 31, tzinfo=UTC), on_event=on_event, peers=peers, keep_seconds=0, **more,
        )
        said = [one.fingerprint for one in result.checkpoints]
    except TrainingError as error:
        said = f"{type(error).__name__}: {error.message}"
    (Path(told["out"]) / f"{out}.{peers.rank}.json").write_text(json.dumps(said))
    return said
"""


@pytest.fixture
def program(tiny_base: Path, train_file: Path, validation_file: Path, recipe: Recipe, tmp_path: Path) -> Any:
    """Run a few lines in two processes that have ``peers`` and ``train``; dropout is on."""
    recipe = replace(recipe, lora=replace(recipe.lora, lora_dropout=0.3))
    told = {
        "recipe": recipe_to_dict(recipe), "base": str(tiny_base), "train": str(train_file),
        "validation": str(validation_file), "out": str(tmp_path),
    }  # fmt: skip
    (tmp_path / "told.json").write_text(json.dumps(told), encoding="utf-8")

    def start(lines: str) -> "subprocess.CompletedProcess[str]":
        body = "".join(f"    {line}\n" for line in lines.strip().splitlines())
        (tmp_path / "program.py").write_text(f'{PROGRAM}\nwith joined("cpu") as peers:\n{body}', encoding="utf-8")
        return torchrun(str(tmp_path / "program.py"), str(tmp_path / "told.json"))

    return start


def said(tmp_path: Path, out: str) -> list[Any]:
    """What the call of ``train`` ended with, by process."""
    return [json.loads((tmp_path / f"{out}.{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


def test_what_befalls_one_process_is_heard_by_all(program: Any, tmp_path: Path) -> None:
    ended = program(
        """
steps = []
asked = itertools.count(1)
train(peers, "cancelled", should_stop=lambda: peers.rank == 1 and next(asked) == 4)


def poisoned(model, batch):
    bad = peers.rank == 1 and torch.is_grad_enabled() and 7 in batch.lines
    return original(model, batch) * (torch.nan if bad else 1.0)


sft.label_losses = poisoned
first = train(peers, "diverged")


def limited(model, batch):
    if peers.rank == 1 and torch.is_grad_enabled() and len(batch.lines) > 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return original(model, batch)


sft.label_losses = limited
warned = []
train(peers, "tight", on_event=lambda event: warned.append(event.message) if isinstance(event, Warned) else None)
(Path(told["out"]) / f"warned.{peers.rank}.json").write_text(json.dumps(warned))


def hopeless(model, batch):
    if peers.rank == 1 and torch.is_grad_enabled():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return original(model, batch)


sft.label_losses = hopeless
train(peers, "hopeless")
"""
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    first, second = said(tmp_path, "cancelled")
    assert first == second
    # Asked once while the base is measured and once for each step, where there is a micro-batch for each process.
    assert first == "Cancelled: cancelled after step 2; the checkpoint step-2 was saved"
    # The line may come to the other process first; in two epochs of another order each, one meets it.
    first, second = said(tmp_path, "diverged")
    assert first == second
    assert re.match(r"DivergedError: the loss is not a finite number at step \d \(batch \d, lines .*7", first)
    first, second = said(tmp_path, "tight")
    assert first == second
    assert len(first) == 2
    heard, silent = said(tmp_path, "warned")
    assert heard[0] == (
        "memory ran out at step 1 with 2 rows in a pass; from here on there are 1, in more passes for the same step"
    )
    assert silent == []
    for one, why in zip(said(tmp_path, "hopeless"), ("out of memory in another process", "CUDA out of"), strict=True):
        assert one.startswith("MemoryExhaustedError: memory ran out at step 1 with a single row")
        assert f"({why}" in one


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_is_killed_takes_the_other_down_and_the_run_goes_on_with_the_same_bits(
    program: Any, tmp_path: Path, victim: int
) -> None:
    """Each process drops inputs of its own, so the state of both generators must come back."""
    ended = program(
        f"""
train(peers, "whole")


def dies():
    if peers.rank == {victim} and sum(1 for _ in Path(told["out"]).glob("out/.resume/step-4")):
        os.kill(os.getpid(), signal.SIGKILL)
    return False


signal.signal(signal.SIGTERM, lambda *_: None)  # as the command has it
train(peers, "out", should_stop=dies)
"""
    )
    assert ended.returncode != 0
    survivor = json.loads((tmp_path / f"out.{1 - victim}.json").read_text(encoding="utf-8"))
    assert survivor.startswith("PeerLostError: another process of this run ended or can no longer be reached")
    point = resume.newest_point(tmp_path / "out")
    assert point is not None
    assert point.name in {"step-4", "step-5"}  # the other process writes it while the victim goes on
    again = program('train(peers, "out")')
    assert again.returncode == 0, again.stderr[-2000:]
    whole, after = said(tmp_path, "whole"), said(tmp_path, "out")
    assert after == whole
    assert after[0] == after[1]
