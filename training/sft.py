"""Supervised fine-tuning of a LoRA adapter: one loop, read from top to bottom.

python -m training.sft recipe.toml --base FOLDER --train FILE --validation FILE --out FOLDER
"""

import argparse
import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from training import attention, base, data, effect, lora, memory, mixing, resume, retention, schedule, tensor_files
from training.advice import advice, measurements_since_best
from training.checkpoint import CheckpointFacts, folder_size, write_checkpoint
from training.config import Recipe, load_recipe, recipe_to_dict, what_is_learned
from training.data import Encoded, Row
from training.display import Display
from training.errors import Cancelled, DivergedError, MemoryExhaustedError, RecipeError, TrainingError
from training.events import CheckpointSaved, Evaluated, Event, Keeping, Previewed, Started, StepDone, Warned
from training.frozen import lay_out
from training.fused import fuse
from training.loss import label_losses
from training.memory import peak_bytes
from training.mixing import Files, Mix, Source
from training.parallel import ALONE, Peers, joined
from training.perplexity import measure_loss
from training.reports import PACKAGES, reporting
from training.resume import Progress
from training.schedule import Window

KEEP_SECONDS = 60.0
"""A killed run loses no more than this."""
PREVIEW_ROWS = 3
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""torchrun and the schedulers of clusters send the second, and wait half a minute."""
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


def _nobody(_event: Event) -> None:
    """Listens to events where nobody else does."""


def train(  # noqa: C901, PLR0912, PLR0915 - one loop that reads from top to bottom
    recipe: Recipe,
    base_folder: Path,
    train_file: Files,
    validation_file: Files,
    out: Path,
    *,
    run_name: str,
    file_names: Mapping[Path, str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    on_event: Callable[[Event], None] = _nobody,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    keep_seconds: float = KEEP_SECONDS,
    peers: Peers = ALONE,
) -> TrainResult:
    """Train an adapter and write checkpoints into ``out`` (one folder each, e.g. ``out/epoch-1``).

    Seeds torch's global generator with the recipe's seed; on one CPU the same inputs give the same bits. A run that was
    broken off in ``out``, however it was, goes on behind its last resume point and ends with the bits that it would
    have had.

    Args:
        recipe: what to train and how.
        base_folder: a base model on this machine.
        train_file: JSONL to learn from, see ``training.data``; of a recipe with a mix one by the name of each dataset.
        validation_file: JSONL to measure the loss on, likewise; of a mix the loss is that of all files together.
        out: folder for the checkpoints; holds none, or those of this very run that was broken off.
        run_name: recorded in every manifest.
        file_names: what people call those of the files that they do not know by the name of the file.
        device: "auto", "cpu", "cuda", "mps".
        dtype: "auto", "float32", "bfloat16": number format of the frozen base; the adapter is always float32.
        on_event: called with every event, in order, from this thread.
        should_stop: asked before every micro-batch; True saves what was learned and stops.
        clock: what time it is, for the manifests.
        keep_seconds: a resume point is written so often, and before every checkpoint.
        peers: the processes that train this run together; each calls this, and the first reports and writes.

    Raises:
        DataError, BaseModelError, RecipeError: before the first step; nothing was written.
        ResumeError: the run in ``out`` was broken off with other settings, data or software; it was kept.
        Cancelled: ``should_stop`` said so; a checkpoint was saved if a step was done.
        DivergedError: a loss or gradient that is not finite; earlier checkpoints are kept.
        MemoryExhaustedError: a single row does not fit; earlier checkpoints are kept.
        CheckpointWriteError: the disk refused, or ``out`` holds a run that is done; earlier checkpoints are kept.
        PeerLostError: another process of this run is gone; checkpoints and the resume point are kept.
    """
    if not peers.is_first:
        on_event = _nobody
    settings = recipe.train
    where = base.pick_device(device)
    number_format = base.pick_dtype(where, dtype)

    # Data first: a bad line is found before minutes are spent on loading a model.
    tokenizer = base.load_tokenizer(base_folder)
    sources: list[Source] = []
    validation: list[Row] = []
    file_hashes: dict[str, str] = {}
    for name, weight, *files in mixing.weights_of(recipe.mix, train_file, validation_file):
        encoded, measured_on = (
            _encode(tokenizer, file, recipe, on_event, name, (file_names or {}).get(file, file.name)) for file in files
        )
        sources.append(Source(name, weight, encoded))
        validation += measured_on.rows
        for split, file in zip(("train", "validation"), files, strict=True):
            file_hashes[f"{name}/{split}" if name else split] = tensor_files.hash_file(file)
    mix = Mix(tuple(sources), recipe.seed)
    mixing.require_rows(mix)
    by_steps = settings.max_steps > 0
    total_steps = schedule.step_count(settings, mix.rows_per_epoch)

    torch.manual_seed(recipe.seed)
    model, _ = base.load_base(base_folder, where, number_format, load_in_4bit=settings.load_in_4bit)
    attention.prepare(model, where, settings.max_length)
    hashes = base.hash_base(base_folder)
    model = lora.attach_lora(model, recipe.lora)
    memory.hold_little()
    if not settings.gradient_checkpointing:
        lay_out(model, with_gradient=True)
    fuse(model)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    identity = resume.identity_of({
        "recipe": what_is_learned(recipe), "base": dataclasses.asdict(hashes), "files": file_hashes,
        "device": where.type, "dtype": str(number_format), **peers.identity,
    })  # fmt: skip
    peers.seed_dropout(recipe.seed)
    progress, random_state = Progress(), resume.random_state(where)
    if restored := resume.restore(out, identity, model, optimizer):
        progress, random_state = restored[0], peers.own(restored[1])
    peers.check_same(f"{identity} {progress.step}")
    on_event(
        Started(
            total_steps=total_steps,
            device=where.type,
            dtype=str(number_format).removeprefix("torch."),
            trainable_parameters=sum(parameter.numel() for parameter in parameters),
            train_rows=mix.rows_per_epoch,
            train_tokens=mix.token_count,
            skipped_rows=mix.skipped_rows,
            validation_rows=len(validation),
            resumed_step=progress.step,
        )
    )
    on_event(Previewed(tuple(data.preview(tokenizer, row) for row in mix.first_rows(PREVIEW_ROWS))))

    def evaluate() -> None:
        measured = measure_loss(
            model,
            validation,
            batch_size=progress.rows_at_once or settings.per_device_train_batch_size,
            device=where,
            should_stop=should_stop,
            peers=peers,
        )
        progress.evaluated.append(
            Evaluated(progress.step, progress.epoch, measured.mean, measured.perplexity, measured.tokens)
        )
        on_event(progress.evaluated[-1])

    def keep() -> None:
        on_event(Keeping(progress.step))
        states = peers.collect(random_state)
        if peers.is_first:
            resume.keep(out, identity, progress, model, optimizer, states)

    def write(name: str, validation_loss: float | None, *, is_last: bool) -> CheckpointSaved:
        tensors, adapter_config = lora.adapter_contents(model, recipe.base_model)
        change = effect.effect_of_trained(model, tokenizer, lora.pair_tensors(tensors, adapter_config))
        told = progress.losses[progress.saved_at :]
        facts = CheckpointFacts(
            run=run_name,
            name=name,
            step=progress.step,
            epoch=progress.epoch,
            train_loss=math.fsum(told) / len(told),
            validation_loss=validation_loss,
            base=hashes,
            recipe=recipe_to_dict(recipe),
            datasets=file_hashes,
            effect=dataclasses.asdict(change),
        )
        folder = out / name
        manifest = write_checkpoint(folder, tensors, adapter_config, facts, clock())
        return CheckpointSaved(
            *(name, progress.step, progress.epoch, folder, manifest.fingerprint, folder_size(folder)),
            *(validation_loss, is_last, change),
        )

    def save(name: str, validation_loss: float | None, *, is_last: bool) -> None:
        saved = peers.on_first(lambda: write(name, validation_loss, is_last=is_last))
        progress.saved.append(saved)
        progress.saved_at = len(progress.losses)
        on_event(saved)
        if not saved.effect.passed:
            on_event(Warned(f"the checkpoint {name} would not pass the effect gate: {saved.effect.reason}"))

    resume.set_random_state(where, random_state)
    kept_at = time.monotonic()
    try:
        if not progress.evaluated:
            evaluate()
        for number, window in enumerate(schedule.windows(mix.rows_of, settings, recipe.seed, total_steps), 1):
            if number < progress.step:
                continue
            if number > progress.step:
                started = time.perf_counter()
                rate = schedule.learning_rate(settings, number, total_steps)
                loss = _step_that_fits(
                    model, optimizer, parameters, window, recipe, where, rate, progress, should_stop, on_event, peers
                )
                random_state = resume.random_state(where)
                seconds = time.perf_counter() - started
                seen = sum(len(row.ids) for batch in window.batches for row in batch)
                progress.step, progress.epoch = number, window.epoch_done
                progress.losses.append(loss)
                progress.busy, progress.tokens = progress.busy + seconds, progress.tokens + seen
                eta = progress.busy / number * (total_steps - number)
                speed = seen / seconds
                on_event(StepDone(number, progress.epoch, loss, rate, progress.tokens, speed, peak_bytes(where), eta))

            # What follows a step is done once, also where the run was broken off in the middle of it.
            due = settings.eval_steps > 0 and number % settings.eval_steps == 0
            if (due or window.ends_epoch or number == total_steps) and progress.evaluated[-1].step != number:
                evaluate()
            patience = settings.early_stopping_patience
            stops_early = 0 < patience <= measurements_since_best(progress.evaluated) and number < total_steps
            is_last = stops_early or number == total_steps
            saves = is_last or (window.ends_epoch and settings.save_strategy == "epoch")
            if saves or peers.any(time.monotonic() - kept_at >= keep_seconds):
                keep()
                kept_at = time.monotonic()
            if saves and not (progress.saved and progress.saved[-1].step == number):
                whole_epoch = window.ends_epoch and not (by_steps and settings.save_strategy == "end")
                name = f"epoch-{window.epoch + 1}" if whole_epoch else f"step-{number}"
                save(name, progress.evaluated[-1].loss, is_last=is_last)
            if stops_early:
                on_event(Warned(_stopped(number, total_steps, patience)))
                break
    except Cancelled as stop:
        if progress.step == 0:
            raise Cancelled("cancelled before the first step was done; nothing was saved") from stop
        keep()
        if not progress.saved or progress.saved[-1].step != progress.step:
            save(f"step-{progress.step}", None, is_last=True)
        raise Cancelled(
            f"cancelled after step {progress.step}; the checkpoint {progress.saved[-1].name} was saved"
        ) from stop
    if said := advice(progress.evaluated):
        on_event(Warned(said))
    if peers.is_first:
        resume.forget(out)
    return TrainResult(
        checkpoints=tuple(progress.saved),
        steps=progress.step,
        base_validation_loss=progress.evaluated[0].loss,
        validation_loss=progress.evaluated[-1].loss,
        tokens_per_second=progress.tokens / progress.busy,
        memory_bytes=peak_bytes(where),
    )


def _step_that_fits(
    model: Any, optimizer: torch.optim.Optimizer, parameters: Sequence[torch.nn.Parameter], window: Window,
    recipe: Recipe, device: torch.device, rate: float, progress: Progress, should_stop: Callable[[], bool],
    on_event: Callable[[Event], None], peers: Peers,
) -> float:  # fmt: skip
    """One step, in smaller micro-batches when memory runs out: more passes, and the same update but for rounding.

    What fitted once is remembered in ``progress``.
    """
    before = resume.random_state(device)
    while True:
        cut = peers.spread(window.cut(progress.rows_at_once, recipe.train.max_tokens_per_pass))
        try:
            return _one_step(
                model, optimizer, parameters, cut, recipe, device, rate, progress.step + 1, should_stop, peers
            )
        except RuntimeError as error:
            if not peers.can_retry(error):
                raise
            said = str(error)
        # Behind the except, so that the error no longer holds on to the tensors of the pass that failed.
        optimizer.zero_grad(set_to_none=True)
        memory.give_back(device)
        largest = max(len(batch) for batch in cut.batches)
        if largest == 1:
            raise MemoryExhaustedError(
                f"memory ran out at step {progress.step + 1} with a single row in the pass; what was saved is kept: "
                f"turn gradient_checkpointing on, or lower max_length or the rank ({said.splitlines()[0][:200]})"
            )
        progress.rows_at_once = -(-largest // 2)
        on_event(
            Warned(
                f"memory ran out at step {progress.step + 1} with {largest} rows in a pass; from here on there are "
                f"{progress.rows_at_once}, in more passes for the same step"
            )
        )
        resume.set_random_state(device, before)


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
    peers: Peers,
) -> float:
    """Forward and backward over the window, one update; returns the mean loss per learned token.

    Every token of the window weighs the same, however the micro-batches cut it and whichever process takes them. The
    host waits for the device once, at the end.
    """
    model.train()
    optimizer.zero_grad(set_to_none=True)
    label_count = sum(row.label_count for batch in window.batches for row in batch)
    sums: dict[int, torch.Tensor] = {}
    for place in peers.share(window.batches):
        peers.go_on(stop=should_stop())
        if place is not None:
            with peers.tell_memory():
                loss = label_losses(model, data.collate(window.batches[place], device)).sum()
                (loss / label_count).backward()
            sums[place] = loss.detach()
    peers.go_on(stop=False)
    peers.sum_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, recipe.train.max_grad_norm)
    *own, gradient_norm = torch.stack([*sums.values(), norm.to(device, torch.float32)]).tolist()
    figures = peers.put_together(dict(zip(sums, own, strict=True)), len(window.batches))
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


def _encode(
    tokenizer: Any, file: Path, recipe: Recipe, on_event: Callable[[Event], None], source: str, called: str
) -> Encoded:
    encoded = data.encode(
        tokenizer,
        data.read_conversations(file),
        max_length=recipe.train.max_length,
        assistant_only_loss=recipe.train.assistant_only_loss,
    )
    if skipped := encoded.skipped_lines:
        longer = f"longer than max_length = {recipe.train.max_length} tokens"
        which = f"1 row is {longer} and was left out (line "
        if len(skipped) > 1:
            which = f"{len(skipped)} rows are {longer} and were left out (lines "
        named = ", ".join(str(line) for line in skipped[:NAMED_LINES])
        more = f" and {len(skipped) - NAMED_LINES} more" if len(skipped) > NAMED_LINES else ""
        on_event(Warned(f"{called}: {which}{named}{more})"))
    rows = tuple(dataclasses.replace(row, source=source) for row in encoded.rows) if source else encoded.rows
    return dataclasses.replace(encoded, rows=rows)


def _stopped(step: int, total_steps: int, patience: int) -> str:
    return (
        f"stopped at step {step} of {total_steps}: the validation loss has not fallen in the last {patience} "
        f"measurement{'s' if patience > 1 else ''}"
    )


def _diverged(what: str, step: int, place: str) -> str:
    return (
        f"{what} is not a finite number at step {step} ({place} of the training file); earlier checkpoints "
        "are kept: look at these lines or lower the learning rate"
    )


def _lines(rows: Sequence[Row]) -> str:
    ordered = sorted(rows, key=lambda row: (row.source, row.line))
    return ", ".join(f"{row.source}:{row.line}" if row.source else str(row.line) for row in ordered)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one recipe; 0 = done, 1 = failed or cancelled, 2 = wrong arguments. Ctrl-C and SIGTERM save and stop."""
    options = _parser().parse_args(arguments)
    interrupts: list[int] = []
    before = {one: signal.signal(one, lambda number, _: interrupts.append(number)) for one in STOP_SIGNALS}
    label = ""
    try:
        recipe = load_recipe(options.recipe)
        run_name = options.name or recipe.name
        with ExitStack() as stack:
            peers = stack.enter_context(joined(options.device))
            label = peers.label
            told = (options.report_to or recipe.train.report_to) if peers.is_first else ()
            show = stack.enter_context(Display()).show
            done = train(
                recipe,
                options.base,
                _files(options.train, "--train"),
                _files(options.validation, "--validation"),
                options.out,
                run_name=run_name,
                device=options.device,
                dtype=options.dtype,
                on_event=stack.enter_context(reporting(told, options.out, run_name, recipe, show)),
                should_stop=lambda: bool(interrupts),
                peers=peers,
            )
            if peers.is_first:
                retention.remove_superfluous(done.checkpoints, recipe.train.keep)
    except TrainingError as error:
        sys.stderr.write(f"{label}{error.message}\n")
        return 1
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return 0


def _files(given: Sequence[str], option: str) -> Files:
    """One file, or several that each begin with the name of their dataset."""
    if len(given) == 1 and "=" not in given[0]:
        return Path(given[0])
    named = dict(one.partition("=")[::2] for one in given)
    if len(named) < len(given) or not all(named.values()):
        raise RecipeError(f"{option} is given several times: each needs the form NAME=FILE with a name of its own")
    return {name: Path(file) for name, file in named.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.sft", description="Train a LoRA adapter.")
    parser.add_argument("recipe", type=Path, help="recipe file (TOML)")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    of_a_mix = "of a recipe with a mix NAME=FILE for each of its datasets"
    parser.add_argument("--train", action="append", required=True, help=f"training file (JSONL); {of_a_mix}")
    parser.add_argument("--validation", action="append", required=True, help=f"validation file (JSONL); {of_a_mix}")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--name", help="name of the run (default: the recipe's)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--report-to", nargs="+", choices=PACKAGES, help="also tell these of the run (default: the recipe's report_to)"
    )
    parser.add_argument("--dtype", default="auto", help="auto, float32 or bfloat16")
    return parser


if __name__ == "__main__":
    sys.exit(main())
