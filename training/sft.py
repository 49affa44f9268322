"""Supervised fine-tuning of a LoRA adapter: one loop, read from top to bottom.

python -m training.sft recipe.toml --base FOLDER --train FILE --validation FILE --out FOLDER
"""

import argparse
import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from training import base, data, effect, lora, schedule, tensor_files
from training.checkpoint import CheckpointFacts, folder_size, write_checkpoint
from training.config import Recipe, load_recipe, recipe_to_dict
from training.data import Encoded, Row
from training.display import Display
from training.errors import Cancelled, CheckpointWriteError, DivergedError, TrainingError
from training.events import CheckpointSaved, Evaluated, Event, Started, StepDone, Warned
from training.loss import label_losses
from training.memory import peak_bytes
from training.perplexity import MeasuredLoss, measure_loss
from training.schedule import Window

NAMED_LINES = 10
"""Skipped lines named in a warning; the rest is counted."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a finished run leaves behind."""

    checkpoints: tuple[CheckpointSaved, ...]
    steps: int
    base_validation_loss: float
    validation_loss: float
    tokens_per_second: float
    """Training tokens per second of training time (evaluation and saving not counted)."""
    memory_bytes: int


def train(  # noqa: C901, PLR0915 - one loop that reads from top to bottom
    recipe: Recipe,
    base_folder: Path,
    train_file: Path,
    validation_file: Path,
    out: Path,
    *,
    run_name: str,
    device: str = "auto",
    dtype: str = "auto",
    on_event: Callable[[Event], None] = lambda _event: None,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> TrainResult:
    """Train an adapter and write checkpoints into ``out`` (one folder each, e.g. ``out/epoch-1``).

    Seeds torch's global generator with the recipe's seed; on one CPU the same inputs give the same bits.

    Args:
        recipe: what to train and how.
        base_folder: a base model on this machine.
        train_file: JSONL to learn from, see ``training.data``.
        validation_file: JSONL to measure the loss on.
        out: folder for the checkpoints; must not hold any yet.
        run_name: recorded in every manifest.
        device: "auto", "cpu", "cuda", "mps".
        dtype: "auto", "float32", "bfloat16": number format of the frozen base; the adapter is always float32.
        on_event: called with every event, in order, from this thread.
        should_stop: asked before every micro-batch; True saves what was learned and stops.
        clock: what time it is, for the manifests.

    Raises:
        DataError, BaseModelError, RecipeError: before the first step; nothing was written.
        Cancelled: ``should_stop`` said so; a checkpoint was saved if a step was done.
        DivergedError: a loss or gradient that is not finite; earlier checkpoints are kept.
        CheckpointWriteError: the disk refused; earlier checkpoints are kept.
    """
    if out.is_dir() and any(out.glob("*/manifest.json")):
        raise CheckpointWriteError(f"{out} holds checkpoints of an earlier run, which were kept; choose another")
    settings = recipe.train
    where = base.pick_device(device)
    number_format = base.pick_dtype(where, dtype)

    # Data first: a bad line is found before minutes are spent on loading a model.
    tokenizer = base.load_tokenizer(base_folder)
    encoded = _encode(tokenizer, train_file, recipe, on_event)
    validation = _encode(tokenizer, validation_file, recipe, on_event)
    files = {"train": train_file, "validation": validation_file}
    file_hashes = {split: tensor_files.hash_file(file) for split, file in files.items()}
    by_steps = settings.max_steps > 0
    total_steps = schedule.step_count(settings, len(encoded.rows))

    torch.manual_seed(recipe.seed)
    model, _ = base.load_base(base_folder, where, number_format)
    hashes = base.hash_base(base_folder)
    model = lora.attach_lora(model, recipe.lora)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    on_event(
        Started(
            total_steps=total_steps,
            device=where.type,
            dtype=str(number_format).removeprefix("torch."),
            trainable_parameters=sum(parameter.numel() for parameter in parameters),
            train_rows=len(encoded.rows),
            train_tokens=encoded.token_count,
            skipped_rows=len(encoded.skipped_lines),
            validation_rows=len(validation.rows),
        )
    )

    step, epoch = 0, 0.0
    tokens = saved_at = 0
    busy = 0.0
    losses: list[float] = []
    saved: list[CheckpointSaved] = []

    def evaluate() -> MeasuredLoss:
        measured = measure_loss(
            model,
            validation.rows,
            batch_size=settings.per_device_train_batch_size,
            device=where,
            should_stop=should_stop,
        )
        on_event(Evaluated(step, epoch, measured.mean, measured.perplexity, measured.tokens))
        return measured

    def save(name: str, validation_loss: float | None, *, is_last: bool) -> None:
        tensors, adapter_config = lora.adapter_contents(model, recipe.base_model)
        change = effect.effect_of_trained(model, tokenizer, lora.pair_tensors(tensors, adapter_config))
        facts = CheckpointFacts(
            run=run_name,
            name=name,
            step=step,
            epoch=epoch,
            train_loss=math.fsum(losses[saved_at:]) / len(losses[saved_at:]),
            validation_loss=validation_loss,
            base=hashes,
            recipe=recipe_to_dict(recipe),
            datasets=file_hashes,
            effect=dataclasses.asdict(change),
        )
        folder = out / name
        manifest = write_checkpoint(folder, tensors, adapter_config, facts, clock())
        saved.append(
            CheckpointSaved(
                *(name, step, epoch, folder, manifest.fingerprint, folder_size(folder)),
                *(validation_loss, is_last, change),
            )
        )
        on_event(saved[-1])
        if not change.passed:
            on_event(Warned(f"the checkpoint {name} would not pass the effect gate: {change.reason}"))

    try:
        measured_base = measured = evaluate()
        for window in schedule.windows(encoded.rows, settings, recipe.seed, total_steps):
            started = time.perf_counter()
            rate = schedule.learning_rate(settings, step + 1, total_steps)
            loss = _one_step(model, optimizer, parameters, window, recipe, where, rate, step + 1, should_stop)
            step, epoch = step + 1, window.epoch_done
            losses.append(loss)
            seconds = time.perf_counter() - started
            seen = sum(len(row.ids) for batch in window.batches for row in batch)
            busy, tokens = busy + seconds, tokens + seen
            eta = busy / step * (total_steps - step)
            on_event(StepDone(step, epoch, loss, rate, tokens, seen / seconds, peak_bytes(where), eta))

            is_last = step == total_steps
            saves = is_last or (window.ends_epoch and settings.save_strategy == "epoch")
            due = settings.eval_steps > 0 and step % settings.eval_steps == 0
            if saves or due or window.ends_epoch:
                measured = evaluate()
            if saves:
                whole_epoch = window.ends_epoch and not (by_steps and settings.save_strategy == "end")
                name = f"epoch-{window.epoch + 1}" if whole_epoch else f"step-{step}"
                save(name, measured.mean, is_last=is_last)
                saved_at = len(losses)
    except Cancelled as stop:
        if step == 0:
            raise Cancelled("cancelled before the first step was done; nothing was saved") from stop
        if not saved or saved[-1].step != step:
            save(f"step-{step}", None, is_last=True)
        raise Cancelled(f"cancelled after step {step}; the checkpoint {saved[-1].name} was saved") from stop
    return TrainResult(tuple(saved), step, measured_base.mean, measured.mean, tokens / busy, peak_bytes(where))


def _one_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    window: Window,
    recipe: Recipe,
    device: torch.device,
    rate: float,
    step: int,
    should_stop: Callable[[], bool],
) -> float:
    """Forward and backward over the window, one update; returns the mean loss per learned token.

    Every token of the window weighs the same, however the micro-batches cut it. The host waits for the device
    once, at the end.
    """
    model.train()
    optimizer.zero_grad(set_to_none=True)
    label_count = sum(row.label_count for batch in window.batches for row in batch)
    sums: list[torch.Tensor] = []
    for rows in window.batches:
        if should_stop():
            raise Cancelled("cancelled")
        loss = label_losses(model, data.collate(rows, device)).sum()
        (loss / label_count).backward()
        sums.append(loss.detach())
    norm = torch.nn.utils.clip_grad_norm_(parameters, recipe.train.max_grad_norm)
    *figures, gradient_norm = torch.stack([*sums, norm.to(sums[0])]).tolist()
    for number, (figure, rows) in enumerate(zip(figures, window.batches, strict=True), 1):
        if not math.isfinite(figure):
            raise DivergedError(_diverged("the loss", step, f"batch {number}, lines {_lines(rows)}"))
    if not math.isfinite(gradient_norm):
        lines = _lines([row for batch in window.batches for row in batch])
        raise DivergedError(_diverged("the gradient", step, f"lines {lines}"))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return math.fsum(figures) / label_count


def _encode(tokenizer: Any, file: Path, recipe: Recipe, on_event: Callable[[Event], None]) -> Encoded:
    encoded = data.encode(
        tokenizer,
        data.read_conversations(file),
        max_length=recipe.train.max_length,
        assistant_only_loss=recipe.train.assistant_only_loss,
    )
    if skipped := encoded.skipped_lines:
        named = ", ".join(str(line) for line in skipped[:NAMED_LINES])
        more = f" and {len(skipped) - NAMED_LINES} more" if len(skipped) > NAMED_LINES else ""
        longer = f"longer than max_length = {recipe.train.max_length} tokens"
        on_event(Warned(f"{file.name}: {len(skipped)} rows are {longer} and were left out (lines {named}{more})"))
    return encoded


def _diverged(what: str, step: int, place: str) -> str:
    return (
        f"{what} is not a finite number at step {step} ({place} of the training file); earlier checkpoints "
        "are kept: look at these lines or lower the learning rate"
    )


def _lines(rows: Sequence[Row]) -> str:
    return ", ".join(str(row.line) for row in sorted(rows, key=lambda row: row.line))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one recipe; 0 = done, 1 = failed or cancelled, 2 = wrong arguments. Ctrl-C saves and stops."""
    options = _parser().parse_args(arguments)
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
    try:
        recipe = load_recipe(options.recipe)
        with Display() as display:
            train(
                recipe,
                options.base,
                options.train,
                options.validation,
                options.out,
                run_name=options.name or recipe.name,
                device=options.device,
                dtype=options.dtype,
                on_event=display.show,
                should_stop=lambda: bool(interrupts),
            )
    except TrainingError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.sft", description="Train a LoRA adapter.")
    parser.add_argument("recipe", type=Path, help="recipe file (TOML)")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--train", type=Path, required=True, help="training file (JSONL)")
    parser.add_argument("--validation", type=Path, required=True, help="validation file (JSONL)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--name", help="name of the run (default: the recipe's)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--dtype", default="auto", help="auto, float32 or bfloat16")
    return parser


if __name__ == "__main__":
    sys.exit(main())
