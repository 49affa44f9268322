"""The memory that is expected before a start, against what torch itself holds between the two passes."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from app.domain.training_memory import CHUNK_TOKENS, PLAIN_HEADS, Plan, estimate, read_plan, read_shape
from training import config, lora, loss
from training.base import load_base
from training.fused import fuse

CPU = torch.device("cpu")
ROWS, WIDTH = 4, 1024


def held(folder: Path, plan: Plan, dtype: torch.dtype, layers: int) -> float:
    """Bytes that autograd holds of each token for the backward pass, weights not counted."""
    torch.manual_seed(0)
    shape = AutoConfig.from_pretrained(folder, num_hidden_layers=layers)
    model = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    targets = plan.target_modules or "all-linear"
    settings = config.LoraSettings(
        r=plan.r, lora_dropout=plan.lora_dropout, use_dora=plan.use_dora, target_modules=targets
    )
    model = lora.attach_lora(model, settings)
    fuse(model)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)  # so that no storage is given to another tensor before all are counted
        return tensor

    ids = torch.randint(0, 250, (ROWS, WIDTH))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train().get_base_model().model(input_ids=ids, use_cache=False)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    return sum(size for place, size in storages.items() if place not in weights) / ids.numel()


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(
    "plan",
    [
        Plan(r=4),
        Plan(r=32),
        Plan(r=4, lora_dropout=0.1),
        Plan(r=4, target_modules=("q_proj", "v_proj")),
        Plan(r=4, target_modules=("o_proj", "down_proj"), lora_dropout=0.1),
        Plan(r=4, use_dora=True),
        Plan(r=4, use_dora=True, lora_dropout=0.1),
    ],
)
def test_what_is_kept_of_each_token_is_what_torch_holds(tiny_base: Path, plan: Plan, *, bfloat16: bool) -> None:
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    measured = held(tiny_base, plan, dtype, layers=5) - held(tiny_base, plan, dtype, layers=2)
    shape = read_shape(json.loads((tiny_base / "config.json").read_text(encoding="utf-8")))
    assert shape is not None
    one = dataclasses.replace(plan, per_device_train_batch_size=1, max_length=1)
    five, two = (
        estimate(dataclasses.replace(shape, layers=layers), one, device="cpu", bfloat16=bfloat16).activations
        for layers in (5, 2)
    )
    assert five - two == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize(
    "plan", [Plan(r=4), Plan(r=3, use_dora=True), Plan(r=2, target_modules=("q_proj", "down_proj"))]
)
def test_weights_and_what_learns_are_counted(tiny_base: Path, plan: Plan) -> None:
    model, _ = load_base(tiny_base, CPU, torch.float32)
    shape = read_shape(json.loads((tiny_base / "config.json").read_text(encoding="utf-8")))
    assert shape is not None
    need = estimate(shape, plan, device="cpu", bfloat16=False)
    assert need.weights == 4 * sum(parameter.numel() for parameter in model.parameters())
    targets = plan.target_modules or "all-linear"
    adapted = lora.attach_lora(model, config.LoraSettings(r=plan.r, use_dora=plan.use_dora, target_modules=targets))
    assert need.adapter == 16 * sum(one.numel() for one in adapted.parameters() if one.requires_grad)


def test_the_app_knows_the_training_by_the_same_numbers() -> None:
    """The two may not import each other, so what both need is written twice."""
    recipe = config.Recipe(name="r", kind="sft", base_model="b", dataset="d")
    assert read_plan(config.recipe_to_dict(recipe)) == Plan()
    assert (loss.PLAIN_HEADS, loss.CHUNK_TOKENS) == (PLAIN_HEADS, CHUNK_TOKENS)
    for plan, settings in ((Plan(), config.LoraSettings()), (Plan(), config.TrainSettings())):
        names = {entry.name for entry in dataclasses.fields(plan)} & {one.name for one in dataclasses.fields(settings)}
        names -= {"target_modules"}
        assert {name: getattr(plan, name) for name in names} == {name: getattr(settings, name) for name in names}
