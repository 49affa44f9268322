"""The effect gate: does this adapter change what the base says, and stay finite while it does?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from training import base, chat
from training.lora import LoraPair, read_adapter
from training.masked_lora import MaskedLora, find_linear

PROBES = (
    "What makes a good morning?",
    "Explain in two sentences why the sky is blue.",
    "Write the first line of a story about a lighthouse.",
    "Is it ever right to lie to a friend?",
)
"""Prompts on which base and adapter are compared."""
SMALLEST_NORM = 1e-6
SMALLEST_KL = 1e-8
"""Well above float32 rounding (about 1e-10), far below what ten steps of training do (about 1e-2)."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How far an adapter moves the base."""

    kl_mean: float
    """Mean over the probes of KL(base || adapter) of the next token, in nats."""
    kl_max: float
    """The largest of them."""
    delta_norm: float
    """Frobenius norm of all weight updates together."""
    passed: bool
    reason: str
    """Why it did not pass; empty where it did."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """Frobenius norm of the update of each layer, by its name."""


def measure_effect(
    base_folder: Path, adapter_folder: Path, probes: Sequence[str] = PROBES, *, device: str = "auto"
) -> Effect:
    """Load base and adapter as generation does and compare their next-token distributions.

    Raises:
        BaseModelError, AdapterError: one of the two cannot be loaded.
    """
    place = base.pick_device(device)
    model, tokenizer = base.load_base(base_folder, place, base.pick_dtype(place))
    pairs = read_adapter(adapter_folder)
    weights = {layer: find_linear(model, layer).weight for layer in pairs}
    stack = MaskedLora(model, {"adapter": pairs})
    with stack.rows([None]):
        without = next_token_logits(model, tokenizer, probes)
    with stack.rows(["adapter"]):
        with_adapter = next_token_logits(model, tokenizer, probes)
    return judge_effect(without, with_adapter, pairs, weights)


def effect_of_trained(model: Any, tokenizer: Any, pairs: Mapping[str, LoraPair]) -> Effect:
    """The gate on a PeftModel in memory: its base is the model with the adapter switched off."""
    model.eval()
    if not tokenizer.chat_template:
        return Effect(0.0, 0.0, 0.0, passed=False, reason="the base model has no chat template to ask with")
    with model.disable_adapter():
        without = next_token_logits(model, tokenizer, PROBES)
    linears = model.get_base_model()
    weights = {
        layer: linears.get_submodule(layer).get_base_layer().weight
        for layer, pair in pairs.items()
        if pair.magnitude is not None
    }
    return judge_effect(without, next_token_logits(model, tokenizer, PROBES), pairs, weights)


def next_token_logits(model: Any, tokenizer: Any, probes: Sequence[str]) -> torch.Tensor:
    """Float64 logits [probes, vocabulary] of the first token of a response to each probe."""
    last = []
    with torch.no_grad():
        for probe in probes:
            ids = chat.encode_prompt(tokenizer, [{"role": "user", "content": probe}])
            inputs = torch.tensor([ids], device=model.device)
            last.append(model(input_ids=inputs, use_cache=False, logits_to_keep=1).logits[0, -1].cpu().double())
    return torch.stack(last)


def judge_effect(
    without: torch.Tensor,
    with_adapter: torch.Tensor,
    pairs: Mapping[str, LoraPair],
    weights: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> Effect:
    """Compare logits [probes, vocabulary] of the base without and with the adapter, and weigh its update.

    ``weights``: those of the base by layer, without which the update of a DoRA cannot be weighed.
    """
    first, second = torch.log_softmax(without, -1), torch.log_softmax(with_adapter, -1)
    kl = (first.exp() * (first - second)).sum(-1)
    with torch.no_grad():
        squares = {layer: max(0.0, pair.squared_norm(weights.get(layer))) for layer, pair in pairs.items()}
    norm = math.sqrt(math.fsum(squares.values()))
    mean, largest = float(kl.mean()), float(kl.max())
    reason = ""
    if not (math.isfinite(norm) and math.isfinite(mean) and math.isfinite(largest)):
        reason = "the adapter's weights or its effect are not finite numbers"
    elif norm < SMALLEST_NORM:
        reason = f"the adapter's weights are zero (norm {norm:.1e}), so it is the base itself"
    elif largest < SMALLEST_KL:
        reason = f"the adapter does not change what the base says (KL {largest:.1e})"
    layers = {layer: math.sqrt(square) for layer, square in sorted(squares.items())}
    return Effect(mean, largest, norm, not reason, reason, layers)
