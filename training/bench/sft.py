"""One contestant of the training bench: trains one epoch on some rows and prints its figures as one line of JSON.

python -m training.bench.sft ours|trl|trl-packed|trl-shipped|matmul --base FOLDER --data FILE

A folder that is not there yet gets the small built-in base model.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from training import base, data, lora, sft
from training.config import LoraSettings, Recipe, TrainSettings
from training.data import Row
from training.errors import TrainingError
from training.events import Event, StepDone
from training.fetch import fetch_base
from training.memory import peak_bytes

SEED = 17
MATMUL_SECONDS = 3.0


@dataclass(frozen=True)
class Task:
    """What all contestants train."""

    base: Path
    data: Path
    rows: int
    batch_size: int
    max_length: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Figures:
    """The first step is not counted: it warms caches and allocators up."""

    contestant: str
    tokens: int
    """Of the rows, padding not counted."""
    seconds: float
    peak_bytes: int
    """Of this process on a CPU, of the allocator on a device."""
    steps: int
    first_loss: float
    last_loss: float

    @property
    def tokens_per_second(self) -> float:
        """What is compared."""
        return self.tokens / self.seconds


class Clock:
    """Takes the time between the end of the first step and that of the last."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tokens: list[int] = []
        self._at: list[float] = []
        self._losses: list[float] = []

    def step(self, tokens: int, loss: float) -> None:
        """A step has ended in which so many tokens were seen."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._at.append(time.perf_counter())
        self._tokens.append(tokens)
        self._losses.append(loss)

    def figures(self, contestant: str) -> Figures:
        """After the last step.

        Raises:
            TrainingError: there was only the one that is not counted.
        """
        if len(self._at) < 2:  # noqa: PLR2004 - the first and one more
            raise TrainingError(f"{contestant} needs a single step for all rows; give it more of them")
        return Figures(
            contestant, sum(self._tokens[1:]), self._at[-1] - self._at[0], peak_bytes(self._device), len(self._at),
            self._losses[0], self._losses[-1],
        )  # fmt: skip


def recipe_of(task: Task) -> Recipe:
    """The recipe of all contestants; the adapter is the usual one."""
    return Recipe(
        name="bench", kind="sft", base_model="bench", dataset="bench", seed=SEED,
        lora=LoraSettings(r=16, lora_alpha=32),
        train=TrainSettings(
            num_train_epochs=1, per_device_train_batch_size=task.batch_size, learning_rate=2e-4,
            max_length=task.max_length, save_strategy="end",
        ),
    )  # fmt: skip


def rows_of(task: Task, tokenizer: Any) -> list[Row]:
    """The first rows of the file that fit."""
    conversations = data.read_conversations(task.data)
    found = data.encode(tokenizer, conversations, max_length=task.max_length, assistant_only_loss=True)
    return list(islice(found.rows, task.rows))


def ours(task: Task) -> Figures:
    """The loop of this project, as it is called for every run."""
    where = base.pick_device(task.device)
    wanted = {row.line for row in rows_of(task, base.load_tokenizer(task.base))}
    clock = Clock(where)
    before = 0

    def told(event: Event) -> None:
        nonlocal before
        if isinstance(event, StepDone):
            clock.step(event.tokens - before, event.loss)
            before = event.tokens

    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "train.jsonl"
        lines = task.data.read_text(encoding="utf-8").split("\n")
        chosen.write_text("\n".join(lines[number - 1] for number in sorted(wanted)), encoding="utf-8")
        one = Path(folder) / "validation.jsonl"
        one.write_text(lines[min(wanted) - 1], encoding="utf-8")
        sft.train(
            recipe_of(task), task.base, chosen, one, Path(folder) / "out", run_name="bench", device=task.device,
            dtype=task.dtype, on_event=told,
        )  # fmt: skip
    return clock.figures("ours")


def trl(task: Task, *, packing: bool = False, shipped: bool = False) -> Figures:
    """TRL's SFTTrainer on the same rows: in our number format, or as it ships (bf16, gradient checkpointing)."""
    peer, datasets = import_module("trl"), import_module("datasets")
    datasets.disable_progress_bars()
    recipe, where = recipe_of(task), base.pick_device(task.device)
    torch.manual_seed(recipe.seed)
    model, tokenizer = base.load_base(task.base, where, base.pick_dtype(where, task.dtype))
    model = lora.attach_lora(model, recipe.lora)
    clock = Clock(where)
    seen = 0

    class Timed(peer.SFTTrainer):  # type: ignore[name-defined]
        def training_step(self, model: Any, inputs: dict[str, Any], *more: Any) -> torch.Tensor:
            nonlocal seen
            mask = inputs.get("attention_mask")
            tokens = inputs["input_ids"].numel() if mask is None else int(mask.sum())
            loss: torch.Tensor = super().training_step(model, inputs, *more)
            seen += tokens
            clock.step(tokens, float(loss))
            return loss

    more: dict[str, Any] = {} if shipped else {"bf16": False, "gradient_checkpointing": False}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Timed(
            model=model,
            args=peer.SFTConfig(
                output_dir=folder, num_train_epochs=1, learning_rate=recipe.train.learning_rate,
                per_device_train_batch_size=task.batch_size, gradient_accumulation_steps=1, max_length=task.max_length,
                packing=packing, use_cpu=where.type == "cpu", report_to=[], save_strategy="no", disable_tqdm=True,
                logging_strategy="no", seed=recipe.seed, dataset_kwargs={"skip_prepare_dataset": not packing},
                dataloader_pin_memory=False, **more,
            ),
            train_dataset=datasets.Dataset.from_list(
                [
                    {"input_ids": list(row.ids), "labels": labels_of(row)}
                    for row in rows_of(task, tokenizer)
                ]
            ),
            processing_class=tokenizer,
        )  # fmt: skip
        trainer.train()
    return clock.figures("trl-shipped" if shipped else "trl-packed" if packing else "trl")


def labels_of(row: Row) -> list[int]:
    """As TRL has them: what is not learned is marked."""
    return [one if learned else data.IGNORED for one, learned in zip(row.ids, row.learned, strict=True)]


def matmul(task: Task) -> dict[str, Any]:
    """The rate of matrix products as long and wide as those of the base, and the tokens/s that it allows at most.

    A LoRA step takes 4 N operations a token: 2 N forwards and 2 N backwards to the inputs of N frozen weights.
    """
    where = base.pick_device(task.device)
    number_format = base.pick_dtype(where, task.dtype)
    model, _ = base.load_base(task.base, where, number_format)
    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
    hidden, inner = model.config.hidden_size, model.config.intermediate_size
    rows = torch.randn(task.batch_size * task.max_length // 2, hidden, device=where, dtype=number_format)
    weight = torch.randn(inner, hidden, device=where, dtype=number_format)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < MATMUL_SECONDS:
        rows @ weight.T
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        done += 1
    rate = 2 * rows.shape[0] * hidden * inner * done / (time.perf_counter() - started)
    return {
        "contestant": "matmul",
        "flops": rate,
        "weights": weights,
        "ceiling_tokens_per_second": rate / (4 * weights),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one contestant."""
    parser = argparse.ArgumentParser(prog="python -m training.bench.sft")
    parser.add_argument("contestant", choices=["ours", "trl", "trl-packed", "trl-shipped", "matmul"])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args(arguments)
    task = Task(**{name: value for name, value in vars(options).items() if name != "contestant"})
    with redirect_stdout(sys.stderr):  # what libraries print is not ours
        found = _measured(options.contestant, task)
    told = found if isinstance(found, dict) else {**asdict(found), "tokens_per_second": found.tokens_per_second}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _measured(contestant: str, task: Task) -> Any:
    if not task.base.is_dir():
        fetch_base("built_in", "", task.base, lambda *_: None)
    match contestant:
        case "ours":
            return ours(task)
        case "matmul":
            return matmul(task)
        case other:
            return trl(task, packing=other == "trl-packed", shipped=other == "trl-shipped")


if __name__ == "__main__":
    sys.exit(main())
