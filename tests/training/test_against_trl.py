"""The loop against TRL's, step by step: the same batches, the same first weights, the same losses."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training import base, data, lora, schedule, sft
from training.config import Recipe
from training.data import Row
from training.events import StepDone

trl = pytest.importorskip("trl", reason="TRL is not installed: ./arena test installs it")
CPU = torch.device("cpu")


def labels_of(row: Row) -> list[int]:
    """As TRL has them: what is not learned is marked."""
    return [one if learned else data.IGNORED for one, learned in zip(row.ids, row.learned, strict=True)]


def losses_of_trl(recipe: Recipe, base_folder: Path, rows: Sequence[Row], out: Path) -> list[float]:
    """The loss of every step when TRL trains on these rows in the order in which our loop sees them."""
    from datasets import Dataset  # noqa: PLC0415

    settings = recipe.train
    total = schedule.step_count(settings, len(rows))
    order = [
        row for window in schedule.windows(rows, settings, recipe.seed, total) for batch in window.batches
        for row in batch
    ]  # fmt: skip
    torch.manual_seed(recipe.seed)
    model, tokenizer = base.load_base(base_folder, CPU, torch.float32)
    model = lora.attach_lora(model, recipe.lora)

    class Recording(trl.SFTTrainer):  # type: ignore[misc, name-defined]
        """What it logs is rounded; what a micro-batch gives is not."""

        def training_step(self, *given: Any, **more: Any) -> torch.Tensor:
            loss: torch.Tensor = super().training_step(*given, **more)
            seen.append(float(loss))
            return loss

    seen: list[float] = []
    trainer = Recording(
        model=model,
        args=trl.SFTConfig(
            output_dir=str(out), max_steps=total, learning_rate=settings.learning_rate, optim="adamw_torch",
            lr_scheduler_type=settings.lr_scheduler_type, weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm, per_device_train_batch_size=settings.per_device_train_batch_size,
            gradient_accumulation_steps=settings.gradient_accumulation_steps, train_sampling_strategy="sequential",
            bf16=False, use_cpu=True, gradient_checkpointing=False, max_length=None, report_to=[], save_strategy="no",
            disable_tqdm=True, assistant_only_loss=False, dataset_kwargs={"skip_prepare_dataset": True},
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list(
            [{"input_ids": list(row.ids), "labels": labels_of(row)} for row in order]
        ),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    size = settings.gradient_accumulation_steps
    return [sum(seen[start : start + size]) for start in range(0, len(seen), size)]


@pytest.mark.parametrize(("size", "accumulation"), [(2, 2), (4, 1), (1, 3)])
@pytest.mark.parametrize("rslora", [False, True])
def test_every_step_has_the_loss_that_trl_has(
    tiny_base: Path, train_file: Path, validation_file: Path, recipe: Recipe, tmp_path: Path, size: int,
    accumulation: int, rslora: bool,
) -> None:  # fmt: skip
    recipe = replace(
        recipe,
        lora=replace(recipe.lora, use_rslora=rslora),
        train=replace(
            recipe.train, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation,
            learning_rate=2e-3, num_train_epochs=3,
        ),
    )  # fmt: skip
    tokenizer = base.load_tokenizer(tiny_base)
    rows = data.encode(tokenizer, data.read_conversations(train_file), max_length=1024, assistant_only_loss=True).rows
    losses: list[float] = []

    def told(event: object) -> None:
        if isinstance(event, StepDone):
            losses.append(event.loss)

    sft.train(
        recipe, tiny_base, train_file, validation_file, tmp_path / "ours", run_name="r", device="cpu",
        dtype="float32", on_event=told,
    )  # fmt: skip
    theirs = losses_of_trl(recipe, tiny_base, rows, tmp_path / "theirs")
    assert len(losses) == len(theirs)
    assert losses == pytest.approx(theirs, abs=1e-5)
    assert abs(losses[0] - losses[-1]) > 0.01
