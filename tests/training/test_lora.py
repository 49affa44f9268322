"""Adapters as plain tensors: what is read and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.errors import AdapterError
from training.lora import LoraPair, pair_tensors, read_adapter

NAME = "base_model.model.layer.lora_{}.weight"


def test_the_scale_follows_alpha_rank_and_rslora() -> None:
    tensors = {NAME.format("A"): torch.ones(4, 3), NAME.format("B"): torch.ones(5, 4)}
    assert pair_tensors(tensors, {"lora_alpha": 8})["layer"].scale == 2
    assert pair_tensors(tensors, {"lora_alpha": 8, "use_rslora": True})["layer"].scale == 4


def test_the_norm_from_grams_is_the_norm_of_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 30, generator=generator), torch.randn(20, 4, generator=generator)
    expected = float(torch.linalg.norm(0.5 * (b @ a).double()) ** 2)
    assert LoraPair(a, b, 0.5).squared_norm() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({NAME.format("A"): torch.ones(2, 3)}, "incomplete"),
        ({NAME.format("A"): torch.ones(2, 3), NAME.format("B"): torch.ones(3, 4)}, "incomplete"),
        ({"base_model.model.model.norm.weight": torch.ones(3)}, "no plain LoRA has"),
        ({"base_model.model.layer.lora_A.other.weight": torch.ones(2, 3)}, "no plain LoRA has"),
        ({"layer.lora_A.weight": torch.ones(2, 3)}, "no plain LoRA has"),
    ],
)
def test_tensors_that_are_not_whole_pairs_are_refused(tensors: dict[str, torch.Tensor], reason: str) -> None:
    with pytest.raises(AdapterError, match=reason):
        pair_tensors(tensors, {})


@pytest.mark.parametrize(
    "change",
    [{"rank_pattern": {"q_proj": 2}}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"peft_type": "IA3"}],
)
def test_a_kind_of_adapter_that_would_be_computed_wrongly_is_refused(
    adapters: dict[str, Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(adapters["wide"], tmp_path / "odd"))
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change), encoding="utf-8")
    with pytest.raises(AdapterError, match="not supported"):
        read_adapter(folder)


def test_an_adapter_without_layers_or_with_broken_weights_is_refused(adapters: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapters["wide"], tmp_path / "odd"))
    weights = folder / "adapter_model.safetensors"
    assert len(load_file(weights)) == 28
    save_file({}, weights)
    with pytest.raises(AdapterError, match="changes no layer"):
        read_adapter(folder)
    weights.write_bytes(b"nothing")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(folder)
