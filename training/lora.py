"""LoRA adapters: attached through peft for training, read as plain tensors for generation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from training.config import LoraSettings
from training.errors import AdapterError, RecipeError
from training.fingerprint import adapter_file, read_adapter_config

PREFIX = "base_model.model."
# Config fields that change what an adapter does in ways the generation stack does not compute.
UNSUPPORTED = (
    *("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias", "fan_in_fan_out"),
    *("layer_replication", "trainable_token_indices", "target_parameters"),
)


@dataclass(frozen=True, slots=True)
class LoraPair:
    """The update of one linear layer: scale · B A, with A of shape [r, in] and B of shape [out, r]."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def squared_norm(self) -> float:
        """Squared Frobenius norm of scale · B A, from two r x r Gram matrices; B A is never formed."""
        a, b = self.a.double(), self.b.double()
        return float(self.scale**2 * ((b.T @ b) * (a @ a.T)).sum())


def attach_lora(model: Any, settings: LoraSettings) -> Any:
    """Freeze ``model`` and put a fresh adapter on it (B = 0, so nothing changes yet); returns the PeftModel.

    A's first values come from torch's global generator: seed it first.

    Raises:
        RecipeError: ``target_modules`` names no layer of this model.
    """
    targets = settings.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=settings.use_rslora,
        bias="none",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise RecipeError(f"lora.target_modules fits no layer of this base model: {error}") from error


def adapter_contents(model: Any, base_name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and config of the trained adapter, in peft's names, ready to be written."""
    tensors = {name: tensor.detach().cpu() for name, tensor in get_peft_model_state_dict(model).items()}
    config = model.peft_config["default"].to_dict()
    config.update(base_model_name_or_path=base_name, inference_mode=True)
    config["target_modules"] = sorted(config["target_modules"])
    return tensors, json.loads(json.dumps(config, default=_plain))


def read_adapter(folder: Path) -> dict[str, LoraPair]:
    """The pairs of an adapter in PEFT layout, by the name of the layer they change, on the CPU.

    Raises:
        AdapterError: missing or broken files, or a kind of adapter that is not plain LoRA.
    """
    config = read_adapter_config(folder)
    unusual = [key for key in UNSUPPORTED if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or unusual:
        what = ", ".join(unusual) or "it is not plain LoRA"
        raise AdapterError(f"the adapter in {folder} cannot be used: {what} is not supported")
    try:
        tensors = load_file(adapter_file(folder))
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"the weights in {folder} cannot be read: {error}") from error
    pairs = pair_tensors(tensors, config)
    if not pairs:
        raise AdapterError(f"the adapter in {folder} changes no layer")
    return pairs


def pair_tensors(tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, LoraPair]:
    """Sort an adapter's tensors into pairs.

    Raises:
        AdapterError: a tensor of another name, a half pair, or shapes that do not fit each other.
    """
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, half = name.removeprefix(PREFIX).rpartition(".lora_")
        if not (name.startswith(PREFIX) and layer and half in {"A.weight", "B.weight"}):
            raise AdapterError(f"the adapter holds the tensor {name}, which no plain LoRA has")
        halves.setdefault(layer, {})[half[0]] = tensor
    pairs: dict[str, LoraPair] = {}
    for layer, half_pair in halves.items():
        a, b = half_pair.get("A"), half_pair.get("B")
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:  # noqa: PLR2004
            raise AdapterError(f"the adapter's update of {layer} is incomplete")
        rank = a.shape[0]
        root = rank**0.5 if config.get("use_rslora") else rank
        pairs[layer] = LoraPair(a, b, float(config.get("lora_alpha") or 8) / root)
    return pairs


def _plain(value: Any) -> Any:
    """Sets and enums of peft's config as JSON values."""
    return sorted(value) if isinstance(value, (set, frozenset)) else getattr(value, "value", str(value))
