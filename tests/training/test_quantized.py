"""A base in four bits: near to the whole one, learned on like any other, and refused in words where it cannot be."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from training import base, lora, quantized
from training.checkpoint import read_manifest
from training.config import LoraSettings, Recipe
from training.errors import BaseModelError
from training.events import Event, StepDone
from training.fused import fuse
from training.sft import train

CPU = torch.device("cpu")
NOT_INSTALLED = "bitsandbytes is not installed: it comes with the extra quantized"


def in_four_bits(recipe: Recipe) -> Recipe:
    return replace(recipe, train=replace(recipe.train, load_in_4bit=True))


def test_without_the_package_a_run_is_refused_before_it_starts(
    tiny_base: Path, train_file: Path, validation_file: Path, recipe: Recipe, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, quantized.PACKAGE, None)
    with pytest.raises(BaseModelError, match="load_in_4bit needs bitsandbytes, which cannot be used here"):
        train(in_four_bits(recipe), tiny_base, train_file, validation_file, tmp_path / "out", run_name="r")
    assert not (tmp_path / "out").exists()


def test_a_device_that_the_package_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    package = SimpleNamespace(supported_torch_devices={"cuda"}, __version__="0.50.2")
    monkeypatch.setitem(sys.modules, quantized.PACKAGE, package)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    with pytest.raises(BaseModelError, match="has no four bits for the device mps; nothing was trained"):
        quantized.loading_options(torch.device("mps"), torch.float32)
    options = quantized.loading_options(torch.device("cuda"), torch.bfloat16)
    assert options["device_map"] == {"": torch.device("cuda", 3)}
    told = options["quantization_config"]
    assert (told.bnb_4bit_quant_type, told.bnb_4bit_use_double_quant) == ("nf4", True)
    assert told.bnb_4bit_compute_dtype is torch.bfloat16


def test_linear_layers_are_near_to_the_whole_ones_and_are_not_fused(tiny_base: Path) -> None:
    pytest.importorskip("bitsandbytes", reason=NOT_INSTALLED)
    whole, _ = base.load_base(tiny_base, CPU, torch.float32)
    small, _ = base.load_base(tiny_base, CPU, torch.float32, load_in_4bit=True)
    layer = small.model.layers[0].mlp.up_proj
    assert layer.weight.dtype is torch.uint8
    assert layer.weight.numel() * 2 == whole.model.layers[0].mlp.up_proj.weight.numel()
    assert torch.equal(small.lm_head.weight, whole.lm_head.weight)
    ids = torch.randint(0, 250, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden, expected = (one.model(input_ids=ids).last_hidden_state for one in (small, whole))
    assert 0 < float((hidden - expected).norm() / expected.norm()) < 0.2
    adapted = lora.attach_lora(small, LoraSettings(r=4))
    assert fuse(adapted) == 5  # the norms: a layer in four bits has no plain W
    assert {one.dtype for one in adapted.parameters() if one.requires_grad} == {torch.float32}


def test_a_run_learns_and_its_checkpoint_is_of_the_base_as_it_is_on_the_disk(
    tiny_base: Path, train_file: Path, validation_file: Path, recipe: Recipe, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes", reason=NOT_INSTALLED)
    before = base.hash_base(tiny_base)
    results = []
    for name in ("one", "again"):
        events: list[Event] = []
        result: Any = train(
            in_four_bits(recipe), tiny_base, train_file, validation_file, tmp_path / name, run_name="r", device="cpu",
            dtype="float32", on_event=events.append,
        )  # fmt: skip
        results.append(result)
    first, again = results
    losses = [event.loss for event in events if isinstance(event, StepDone)]
    assert losses[-1] < losses[0]
    assert first.validation_loss < first.base_validation_loss
    assert [one.fingerprint for one in first.checkpoints] == [one.fingerprint for one in again.checkpoints]
    facts = read_manifest(first.checkpoints[-1].folder).facts
    assert facts.base == before == base.hash_base(tiny_base)
    assert facts.recipe["train"]["load_in_4bit"] is True
    assert lora.read_adapter(first.checkpoints[-1].folder)
    assert first.checkpoints[-1].effect.passed
