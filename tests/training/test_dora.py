"""DoRA from the recipe to a response: it begins as the base, learns magnitudes, and is weighed, hashed and taken in."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import load_file, save_file

from tests.training.intake.packing import honest, sent, zipped
from training import lora
from training.base import load_base
from training.config import LoraSettings, Recipe
from training.effect import measure_effect
from training.errors import AdapterError
from training.events import CheckpointSaved, Event
from training.fingerprint import adapter_file, fingerprint_adapter
from training.fused import fuse
from training.generate import LocalEngine, Request
from training.intake.bases import linear_shapes, misfit
from training.intake.take import read_upload, store_copy
from training.lora import LoraPair, pair_tensors, read_adapter
from training.sampling import Sampling
from training.sft import train

CPU = torch.device("cpu")
IDS = torch.randint(0, 250, (3, 17), generator=torch.Generator().manual_seed(1))
Q = "model.layers.0.self_attn.q_proj"


def test_it_begins_as_the_base_and_its_layers_are_left_to_peft(tiny_base: Path) -> None:
    model, _ = load_base(tiny_base, CPU, torch.float32)
    with torch.no_grad():
        bare = model(input_ids=IDS).logits
    model = lora.attach_lora(model, LoraSettings(r=4, use_dora=True))
    layers = {name: one.forward for name, one in model.named_modules() if isinstance(one, LoraLinear)}
    assert fuse(model) == 5  # the norms
    assert layers == {name: one.forward for name, one in model.named_modules() if isinstance(one, LoraLinear)}
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(input_ids=IDS).logits, bare, atol=1e-6, rtol=0)


def test_what_was_trained_is_what_peft_loads(tiny_base: Path, adapters: dict[str, Path]) -> None:
    pairs = read_adapter(adapters["dora"])
    base = load_base(tiny_base, CPU, torch.float32)[0]
    moved = [pair.magnitude - base.get_submodule(layer).weight.norm(dim=1) for layer, pair in pairs.items()]
    assert all(change.abs().max() > 1e-4 for change in moved)  # the magnitudes have learned
    peft = PeftModel.from_pretrained(base, adapters["dora"])
    loaded = dict(peft.named_parameters())
    for layer, pair in pairs.items():
        name = f"base_model.model.{layer}.lora_magnitude_vector.default.weight"
        assert torch.equal(loaded[name], pair.magnitude)


def test_the_norm_is_that_of_what_peft_merges(tiny_base: Path, adapters: dict[str, Path]) -> None:
    pairs = read_adapter(adapters["dora"])
    base = load_base(tiny_base, CPU, torch.float32)[0]
    merged = PeftModel.from_pretrained(load_base(tiny_base, CPU, torch.float32)[0], adapters["dora"])
    merged = merged.merge_and_unload()
    effect = measure_effect(tiny_base, adapters["dora"])
    assert effect.passed
    assert effect.layers.keys() == pairs.keys()
    for layer, norm in effect.layers.items():
        change = (merged.get_submodule(layer).weight - base.get_submodule(layer).weight).detach()
        assert norm == pytest.approx(float(change.norm()), rel=1e-3)


def test_the_gate_says_the_same_while_training_and_after(
    recipe: Recipe, tiny_base: Path, train_file: Path, validation_file: Path, tmp_path: Path
) -> None:
    dora = replace(recipe, lora=replace(recipe.lora, use_dora=True))
    events: list[Event] = []
    train(
        dora, tiny_base, train_file, validation_file, tmp_path / "out", run_name="r", device="cpu", dtype="float32",
        on_event=events.append,
    )  # fmt: skip
    for saved in (event for event in events if isinstance(event, CheckpointSaved)):
        after = measure_effect(tiny_base, saved.folder, device="cpu")  # in bfloat16 where the CPU computes in it
        assert saved.effect.passed
        assert saved.effect.delta_norm == pytest.approx(after.delta_norm, rel=1e-3)
        assert saved.effect.layers.keys() == after.layers.keys()


def test_one_that_does_nothing_does_not_pass(tiny_base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapters["dora"], tmp_path / "adapter"))
    base = load_base(tiny_base, CPU, torch.float32)[0]
    tensors = load_file(adapter_file(folder))
    for layer in read_adapter(folder):
        tensors[f"{lora.PREFIX}{layer}.lora_B.weight"].zero_()
        tensors[f"{lora.PREFIX}{layer}.lora_magnitude_vector"] = base.get_submodule(layer).weight.norm(dim=1).detach()
    save_file(tensors, adapter_file(folder))
    effect = measure_effect(tiny_base, folder)
    assert not effect.passed


def test_the_fingerprint_covers_the_magnitudes(adapters: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapters["dora"], tmp_path / "adapter"))
    before = fingerprint_adapter(folder)
    tensors = load_file(adapter_file(folder))
    tensors[f"{lora.PREFIX}{Q}.lora_magnitude_vector"][-1] += 1e-3
    save_file(tensors, adapter_file(folder))
    assert fingerprint_adapter(folder) != before == fingerprint_adapter(adapters["dora"])


def test_an_upload_arrives_unchanged_and_is_matched_to_its_base(
    tiny_base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    packed = zipped(honest(adapters["dora"]).files())
    adapter = read_upload(sent(tmp_path / "sent", packed, "adapter.zip"), tmp_path / "scratch")
    assert misfit(adapter.updates, linear_shapes(tiny_base)) == ""
    stored = store_copy(adapter, "tiny", tmp_path / "stored")
    assert stored.fingerprint == fingerprint_adapter(adapters["dora"])
    ours, theirs = read_adapter(stored.folder), read_adapter(adapters["dora"])
    assert all(torch.equal(ours[layer].magnitude, pair.magnitude) for layer, pair in theirs.items())


def test_it_says_the_same_alone_and_beside_others(tiny_base: Path, adapters: dict[str, Path]) -> None:
    sampling = Sampling(temperature=0.9, max_new_tokens=24)
    asked = [
        Request(f"{name} {seed}", name, ({"role": "user", "content": f"what is cheese number {seed}?"},), seed)
        for seed in range(2)
        for name in ("dora", None, "wide")
    ]
    mixed = LocalEngine(tiny_base, adapters, device="cpu", dtype="float32")
    told = {one.key: one.text for one in mixed.generate(asked, sampling, batch_size=6)}
    for name in ("dora", None, "wide"):
        own = {name: adapters[name]} if name else {}
        alone = LocalEngine(tiny_base, own, device="cpu", dtype="float32")
        requests = [request for request in asked if request.adapter == name]
        assert {one.key: one.text for one in alone.generate(requests, sampling, batch_size=1)}.items() <= told.items()
    assert told["dora 0"] != told["wide 0"]


@pytest.mark.parametrize(
    ("magnitude", "use_dora", "reason"),
    [
        (None, True, "no magnitude for each row"),
        (torch.ones(4), True, "no magnitude for each row"),
        (torch.ones(5, 1), True, "no magnitude for each row"),
        (torch.ones(5), False, "which no plain LoRA has"),
    ],
)
def test_magnitudes_that_do_not_fit_are_refused(magnitude: torch.Tensor | None, use_dora: bool, reason: str) -> None:
    tensors = {
        f"{lora.PREFIX}layer.lora_A.weight": torch.ones(2, 3),
        f"{lora.PREFIX}layer.lora_B.weight": torch.ones(5, 2),
    }
    if magnitude is not None:
        tensors[f"{lora.PREFIX}layer.lora_magnitude_vector"] = magnitude
    with pytest.raises(AdapterError, match=reason):
        pair_tensors(tensors, {"use_dora": use_dora})


def test_a_weight_of_another_shape_is_refused_and_one_is_needed_for_the_norm() -> None:
    pair = LoraPair(torch.ones(2, 3), torch.ones(5, 2), 1.0, torch.ones(5))
    with pytest.raises(AdapterError, match="does not fit this base model"):
        pair.stretch(torch.ones(5, 4))
    with pytest.raises(ValueError, match="depends on its weight"):
        pair.squared_norm()
