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
MAGNITUDE = "magnitude_vector"
"""What a tensor of DoRA is called behind ``.lora_``."""
# Config fields that change what an adapter does in ways the generation stack does not compute.
UNSUPPORTED = (
    *("rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias", "fan_in_fan_out"),
    *("layer_replication", "trainable_token_indices", "target_parameters"),
)


@dataclass(frozen=True, slots=True)
class LoraPair:
    """The update of one linear layer: scale · B A, with A of shape [r, in] and B of shape [out, r].

    With a magnitude m of shape [out] (DoRA) the layer's weight becomes V = W + scale · B A with each row brought to the
    length that m says: m V / ‖V‖.
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    def stretch(self, weight: torch.Tensor) -> torch.Tensor:
        """The factor m / ‖W + scale · B A‖ of each row, float32 [out]; ones without a magnitude.

        Raises:
            AdapterError: W has not the shape [out, in] of this update.
        """
        if self.magnitude is None:
            return torch.ones(len(self.b))
        return self.magnitude.to(weight.device).float() / torch.linalg.norm(self._changed(weight), dim=1)

    def squared_norm(self, weight: torch.Tensor | None = None) -> float:
        """Squared Frobenius norm of the change of the layer's weight.

        Without a magnitude it comes from two r x r Gram matrices, and B A is never formed; with one it is that of
        m V / ‖V‖ - W, for which the weight W [out, in] must be given.
        """
        if self.magnitude is None:
            a, b = self.a.double(), self.b.double()
            return float(self.scale**2 * ((b.T @ b) * (a @ a.T)).sum())
        if weight is None:
            raise ValueError("how far DoRA changes a layer depends on its weight; pass it")
        change = self.merged(weight) - weight.float()
        return float(change.double().square().sum())

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight W [out, in] with the update in it, float32.

        Raises:
            AdapterError: W has another shape.
        """
        changed = self._changed(weight)
        return changed if self.magnitude is None else self.stretch(weight)[:, None] * changed

    def _changed(self, weight: torch.Tensor) -> torch.Tensor:
        a, b = self.a.to(weight.device).float(), self.b.to(weight.device).float()
        if weight.shape != (len(b), a.shape[1]):
            raise AdapterError("an adapter does not fit this base model: the shape of a layer differs")
        return weight.float() + self.scale * (b @ a)


def attach_lora(model: Any, settings: LoraSettings) -> Any:
    """Freeze ``model`` and put a fresh adapter on it; returns the PeftModel.

    B = 0, and with DoRA each magnitude is the length of its row, so nothing changes yet.

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
        use_dora=settings.use_dora,
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
        AdapterError: missing or broken files, or a kind of adapter that is neither plain LoRA nor DoRA.
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
        AdapterError: a tensor of another name, a half pair, shapes that do not fit each other, or magnitudes that are
            missing (DoRA) or too many (plain LoRA).
    """
    use_dora = bool(config.get("use_dora"))
    known = {"A.weight", "B.weight", *((MAGNITUDE,) if use_dora else ())}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.removeprefix(PREFIX).rpartition(".lora_")
        if not (name.startswith(PREFIX) and layer and part in known):
            raise AdapterError(
                f"the adapter holds the tensor {name}, which no {'DoRA' if use_dora else 'plain LoRA'} has"
            )
        parts.setdefault(layer, {})[part] = tensor
    pairs: dict[str, LoraPair] = {}
    for layer, found in parts.items():
        a, b, magnitude = found.get("A.weight"), found.get("B.weight"), found.get(MAGNITUDE)
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:  # noqa: PLR2004
            raise AdapterError(f"the adapter's update of {layer} is incomplete")
        if use_dora and (magnitude is None or magnitude.shape != b.shape[:1]):
            raise AdapterError(f"the adapter's update of {layer} has no magnitude for each row, which DoRA needs")
        rank = a.shape[0]
        root = rank**0.5 if config.get("use_rslora") else rank
        pairs[layer] = LoraPair(a, b, float(config.get("lora_alpha") or 8) / root, magnitude)
    return pairs


def _plain(value: Any) -> Any:
    """Sets and enums of peft's config as JSON values."""
    return sorted(value) if isinstance(value, (set, frozenset)) else getattr(value, "value", str(value))
