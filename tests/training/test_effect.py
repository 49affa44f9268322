"""The effect gate passes a trained adapter and refuses one that does nothing or breaks the model."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.effect import measure_effect
from training.fingerprint import adapter_file


@pytest.fixture
def adapter(adapters: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapters["wide"], tmp_path / "adapter"))


def scale_b(folder: Path, factor: float) -> None:
    tensors = load_file(adapter_file(folder))
    scaled = {name: tensor * factor if "lora_B" in name else tensor for name, tensor in tensors.items()}
    save_file(scaled, adapter_file(folder))


def test_a_trained_adapter_passes(tiny_base: Path, adapter: Path) -> None:
    effect = measure_effect(tiny_base, adapter)
    assert effect.passed
    assert effect.reason == ""
    assert 0 < effect.kl_mean <= effect.kl_max
    assert effect.delta_norm > 0.1


def test_an_adapter_of_zeros_is_the_base_itself(tiny_base: Path, adapter: Path) -> None:
    scale_b(adapter, 0.0)
    effect = measure_effect(tiny_base, adapter)
    assert not effect.passed
    assert "it is the base itself" in effect.reason
    assert effect.kl_max == 0


def test_an_adapter_that_hardly_does_anything_does_not_pass(tiny_base: Path, adapter: Path) -> None:
    scale_b(adapter, 1e-6)
    effect = measure_effect(tiny_base, adapter)
    assert not effect.passed
    assert "does not change what the base says" in effect.reason


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_adapter_that_is_not_finite_does_not_pass(tiny_base: Path, adapter: Path, value: float) -> None:
    scale_b(adapter, value)
    effect = measure_effect(tiny_base, adapter)
    assert not effect.passed
    assert "not finite" in effect.reason
