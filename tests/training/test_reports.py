"""TensorBoard and W&B are told what the arena is told, and a run that goes on continues its curves."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training import sft
from training.config import Recipe, recipe_to_dict
from training.errors import ReportError
from training.events import CheckpointSaved, Evaluated, Event, Started, StepDone, Warned
from training.reports import RUN_ID, reporting

NO_TENSORBOARD = "TensorBoard is not installed: ./arena test installs it"
STAND_IN = '''
"""What the tests need of wandb: a run that writes down what it is told."""
import json
from pathlib import Path


class Error(Exception):
    pass


class Summary:
    def __init__(self, run):
        self.run = run

    def update(self, values):
        self.run.note("summary", values)


class Run:
    def __init__(self, id, told):
        self.id, self.file, self.summary = id, Path(told["dir"]) / "told.jsonl", Summary(self)
        self.note("init", told)

    def note(self, what, value):
        with self.file.open("a") as file:
            file.write(json.dumps([self.id, what, value]) + "\\n")

    def log(self, values, step):
        self.note("log", {"step": step, **values})

    def finish(self, exit_code):
        self.note("finish", exit_code)


def init(*, id, **told):
    if told["name"] == "refused":
        raise Error("api_key not configured (no-tty)")
    return Run(id or f"run-{len(list(Path(told['dir']).glob('told.jsonl')))}", told)
'''


class KilledError(Exception):
    """The process is gone at this very moment."""


@pytest.fixture
def inputs(tiny_base: Path, train_file: Path, validation_file: Path) -> tuple[Path, Path, Path]:
    return tiny_base, train_file, validation_file


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of this name that comes before any that is installed."""
    (tmp_path / "packages" / "wandb").mkdir(parents=True)
    (tmp_path / "packages" / "wandb" / "__init__.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield
    sys.modules.pop("wandb", None)


def train(recipe: Recipe, inputs: Sequence[Path], out: Path, *names: str, name: str = "r", dies_at: int = 0) -> Any:
    """The events of a run that is also reported to these; ``dies_at``: the step behind which the process is gone."""
    events: list[Event] = []

    def told(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepDone) and event.step == dies_at:
            raise KilledError

    with reporting(names, out, name, recipe, told) as on_event:
        sft.train(recipe, *inputs, out, run_name=name, device="cpu", dtype="float32", on_event=on_event, keep_seconds=0)
    return events


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve in the event files of a folder, as TensorBoard itself reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    read = EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def expected(events: list[Event]) -> dict[str, list[tuple[int, float]]]:
    steps = [event for event in events if isinstance(event, StepDone)]
    measured = [event for event in events if isinstance(event, Evaluated)]
    return {
        "train/loss": [(one.step, pytest.approx(one.loss)) for one in steps],
        "train/learning_rate": [(one.step, pytest.approx(one.learning_rate)) for one in steps],
        "eval/loss": [(one.step, pytest.approx(one.loss)) for one in measured],
        "eval/perplexity": [(one.step, pytest.approx(one.perplexity)) for one in measured],
    }


def test_tensorboard_reads_every_figure_back(recipe: Recipe, inputs: tuple[Path, ...], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=NO_TENSORBOARD)
    out = tmp_path / "out"
    events = train(recipe, inputs, out, "tensorboard")
    found = scalars(out / "tensorboard")
    for tag, points in expected(events).items():
        assert found[tag] == points
    assert {"train/epoch", "train/tokens", "train/tokens_per_second", "train/memory_bytes"} <= found.keys()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    read = EventAccumulator(str(out / "tensorboard")).Reload()
    texts = {
        tag: [one.tensor_proto.string_val[0].decode() for one in read.Tensors(tag)] for tag in read.Tags()["tensors"]
    }
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert texts["checkpoints/text_summary"] == [f"{one.name}: {one.fingerprint}" for one in saved]
    assert '"learning_rate": 0.01' in texts["recipe/text_summary"][0]
    warned = [event.message for event in events if isinstance(event, Warned)]
    assert texts["warnings/text_summary"] == warned
    assert warned


def test_a_run_that_was_broken_off_has_each_step_once(recipe: Recipe, inputs: tuple[Path, ...], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=NO_TENSORBOARD)
    whole = train(recipe, inputs, tmp_path / "whole", "tensorboard")
    with pytest.raises(KilledError):
        train(recipe, inputs, tmp_path / "out", "tensorboard", dies_at=5)
    after = train(recipe, inputs, tmp_path / "out", "tensorboard")
    assert next(event for event in after if isinstance(event, Started)).resumed_step == 4
    found = scalars(tmp_path / "out" / "tensorboard")
    assert {tag: found[tag] for tag in expected(whole)} == expected(whole)


@pytest.mark.usefixtures("wandb")
def test_weights_and_biases_is_told_every_figure_and_how_it_ended(
    recipe: Recipe, inputs: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    out = tmp_path / "out"
    events = train(recipe, inputs, out, "wandb")
    told = [json.loads(line) for line in (out / "told.jsonl").read_text(encoding="utf-8").splitlines()]
    _, what, begun = told[0]
    assert (what, begun["project"], begun["name"], begun["resume"]) == ("init", "brie-arena", "r", None)
    assert begun["config"] == recipe_to_dict(recipe)
    logged = [value for _, what, value in told if what == "log"]
    for tag, points in expected(events).items():
        assert [(one["step"], one[tag]) for one in logged if tag in one] == points
    summary: dict[str, Any] = {}
    for _, what, value in told:
        if what == "summary":
            summary |= value
    saved = {f"checkpoints/{one.name}": one.fingerprint for one in events if isinstance(one, CheckpointSaved)}
    assert saved.items() <= summary.items()
    assert summary["warnings"] == [event.message for event in events if isinstance(event, Warned)]
    assert told[-1][1:] == ["finish", 0]


@pytest.mark.usefixtures("wandb")
def test_a_resumed_run_is_the_same_run_there_and_one_from_the_start_another(
    recipe: Recipe, inputs: tuple[Path, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KilledError):
        train(recipe, inputs, out, "wandb", dies_at=5)
    begun = (out / "wandb" / RUN_ID).read_text(encoding="utf-8")
    train(recipe, inputs, out, "wandb")
    told = [json.loads(line) for line in (out / "told.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [value for _, what, value in told if what == "finish"] == [1, 0]
    assert {run for run, *_ in told} == {begun}
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "told.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "again" / "wandb").mkdir()
    (tmp_path / "again" / "wandb" / RUN_ID).write_text(begun, encoding="utf-8")
    train(recipe, inputs, tmp_path / "again", "wandb")
    assert (tmp_path / "again" / "wandb" / RUN_ID).read_text(encoding="utf-8") != begun


@pytest.mark.usefixtures("wandb")
def test_a_server_that_refuses_stops_the_run_before_its_first_step(
    recipe: Recipe, inputs: tuple[Path, ...], tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match=r"api_key not configured .*no step was taken.*WANDB_MODE=offline"):
        train(recipe, inputs, tmp_path / "out", "wandb", name="refused")
    assert not list((tmp_path / "out").glob("*/manifest.json"))


def test_the_real_package_writes_a_run_where_it_is_installed(
    recipe: Recipe, inputs: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = pytest.importorskip(
        "wandb", reason="W&B is not installed: it is used where it is, and comes with no extra"
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(replace(recipe, train=replace(recipe.train, max_steps=1)), inputs, tmp_path / "out", "wandb")
    installed.teardown()  # its service writes the rest before it ends
    (written,) = (tmp_path / "out" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"train/loss" in written.read_bytes()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_one_that_is_asked_for_and_not_installed_is_named_before_anything_is_done(
    inputs: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:  # fmt: skip
    for module in ("wandb", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    file = tmp_path / "one.toml"
    file.write_text(
        f'name = "one"\nkind = "sft"\nbase_model = "tiny"\ndataset = "d"\n[train]\nreport_to = ["{name}"]\n',
        encoding="utf-8",
    )
    base, data, validation = map(str, inputs)
    arguments = ["--base", base, "--train", data, "--validation", validation, "--out", str(tmp_path / "out")]
    assert sft.main([str(file), *arguments]) == 1
    assert f"report_to names {name}, which is not installed here" in capsys.readouterr().err
    plain = tmp_path / "plain.toml"
    plain.write_text('name = "one"\nkind = "sft"\nbase_model = "tiny"\ndataset = "d"\n', encoding="utf-8")
    assert sft.main([str(plain), *arguments, "--report-to", name]) == 1
    assert "nothing was trained" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
