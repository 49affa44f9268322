"""Layers that keep less for the backward pass and make fewer passes over memory; they compute the same.

A LoRA layer by peft makes five passes over its output, an RMS norm four, and a gated MLP keeps four tensors of its
inner width. Here each is one step of autograd that keeps what cannot be had again cheaply:

    y = x Wᵀ + s (x Aᵀ) Bᵀ            keeps x and x Aᵀ (rank r); the update is added in place
    y = w · x / rms(x)                keeps x and 1 / rms(x)
    y = LoRA(silu(g) · u)             keeps g and u; the product is made again for the gradient of A

Only where weights and adapter have the same number format and the layer is one of those above, the last also only
without dropout; every other layer stays as peft and transformers have it, so that what is trained and saved is theirs.
"""

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.activations import SiLUActivation

ADAPTER = "default"


def fuse(model: Any) -> int:
    """Fuse what can be fused of a PeftModel in training; returns how many layers that are."""
    fused = 0
    for module in model.modules():
        if isinstance(module, LoraLinear) and _is_plain(module):
            module.forward = _lora_forward(module)
        elif _is_gated(module):
            module.forward = _gated_forward(module)
        elif _is_rms_norm(module):
            module.forward = _norm_forward(module)
        else:
            continue
        fused += 1
    return fused


class _LoraStep(Function):
    """y = x Wᵀ + b + s (x' Aᵀ) Bᵀ for x of shape [tokens, in]; W and b are frozen, x' is x where nothing is dropped."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, dropped: torch.Tensor | None, weight: torch.Tensor, bias: Any, a: torch.Tensor,
        b: torch.Tensor, scale: float,
    ) -> torch.Tensor:  # fmt: skip
        read = x if dropped is None else dropped
        narrow = read @ a.T
        ctx.save_for_backward(read, narrow, weight, a, b)
        ctx.scale, ctx.drops = scale, dropped is not None
        return functional.linear(x, weight, bias).addmm_(narrow, b.T, alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        read, narrow, weight, a, b = ctx.saved_tensors
        wants_x = ctx.needs_input_grad[0]
        if not ctx.drops:
            grad_x, grad_a, grad_b = _lora_gradients(grad, read, narrow, weight, a, b, ctx.scale, wants_x=wants_x)
            return grad_x, None, None, None, grad_a, grad_b, None
        down = (grad @ b).mul_(ctx.scale)
        grad_x = grad @ weight if wants_x else None
        grad_dropped = down @ a if ctx.needs_input_grad[1] else None
        return grad_x, grad_dropped, None, None, down.T @ read, (grad.T @ narrow).mul_(ctx.scale), None


class _GatedLoraStep(Function):
    """The same for x = silu(gate) · up, which is made again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, up: torch.Tensor, weight: torch.Tensor, bias: Any, a: torch.Tensor,
        b: torch.Tensor, scale: float,
    ) -> torch.Tensor:  # fmt: skip
        x = functional.silu(gate).mul_(up)
        narrow = x @ a.T
        ctx.save_for_backward(gate, up, narrow, weight, a, b)
        ctx.scale = scale
        return functional.linear(x, weight, bias).addmm_(narrow, b.T, alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        gate, up, narrow, weight, a, b = ctx.saved_tensors
        open_ = torch.sigmoid(gate)
        silu = gate * open_
        grad_x, grad_a, grad_b = _lora_gradients(grad, silu * up, narrow, weight, a, b, ctx.scale)
        grad_up = silu * grad_x
        # silu' = sigmoid + silu (1 - sigmoid)
        grad_gate = silu.sub_(silu * open_).add_(open_).mul_(up).mul_(grad_x)
        return grad_gate, grad_up, None, None, grad_a, grad_b, None


class _NormStep(Function):
    """y = w · x / sqrt(mean(x²) + ε) over the last dimension; w is frozen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        factor = torch.rsqrt(x.square().mean(-1, keepdim=True).add_(epsilon))
        ctx.save_for_backward(x, factor, weight)
        return (x * factor).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, factor, weight = ctx.saved_tensors
        inner = grad * weight
        along = (inner * x).mean(-1, keepdim=True).mul_(factor.square())
        return inner.sub_(along * x).mul_(factor), None, None


def _lora_gradients(
    grad: torch.Tensor, x: torch.Tensor, narrow: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor,
    scale: float, *, wants_x: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:  # fmt: skip
    down = (grad @ b).mul_(scale)
    grad_x = (grad @ weight).addmm_(down, a) if wants_x else None
    return grad_x, down.T @ x, (grad.T @ narrow).mul_(scale)


def _is_plain(layer: Any) -> bool:
    """Whether this is nothing but y = W x + s B A x with one adapter, dropout before A aside."""
    base = layer.base_layer
    return (
        type(base) is nn.Linear
        and list(layer.lora_A) == [ADAPTER]
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[ADAPTER], nn.Identity | nn.Dropout)
        and layer.lora_A[ADAPTER].bias is None
        and layer.lora_B[ADAPTER].bias is None
        and not base.weight.requires_grad
        and base.weight.dtype == layer.lora_A[ADAPTER].weight.dtype
    )


def _is_gated(module: Any) -> bool:
    """Whether this is down(silu(gate(x)) · up(x)) with a plain adapter on ``down``."""
    return (
        {"gate_proj", "up_proj", "down_proj"} <= dict(module.named_children()).keys()
        and isinstance(module.down_proj, LoraLinear)
        and _is_plain(module.down_proj)
        and isinstance(module.down_proj.lora_dropout[ADAPTER], nn.Identity)
        and isinstance(getattr(module, "act_fn", None), nn.SiLU | SiLUActivation)
    )


def _is_rms_norm(module: Any) -> bool:
    return (
        type(module).__name__.endswith("RMSNorm")
        and isinstance(getattr(module, "variance_epsilon", None), float)
        and module.weight.dtype is torch.float32
        and not module.weight.requires_grad
    )


def _lora_forward(layer: Any) -> Callable[..., torch.Tensor]:
    unfused = layer.forward

    def forward(x: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
        if more or options or not _applies(layer, x):
            found: torch.Tensor = unfused(x, *more, **options)
            return found
        dropout, flat = layer.lora_dropout[ADAPTER], x.flatten(0, -2)
        dropped = dropout(flat) if dropout.training and isinstance(dropout, nn.Dropout) else None
        y: torch.Tensor = _LoraStep.apply(flat, dropped, *_parts(layer))
        return y.unflatten(0, x.shape[:-1])

    return forward


def _gated_forward(module: Any) -> Callable[..., torch.Tensor]:
    unfused = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not _applies(module.down_proj, x):
            found: torch.Tensor = unfused(x)
            return found
        gate, up = module.gate_proj(x), module.up_proj(x)
        y: torch.Tensor = _GatedLoraStep.apply(gate.flatten(0, -2), up.flatten(0, -2), *_parts(module.down_proj))
        return y.unflatten(0, x.shape[:-1])

    return forward


def _norm_forward(module: Any) -> Callable[..., torch.Tensor]:
    unfused = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.dtype is not torch.float32 or not torch.is_grad_enabled():
            found: torch.Tensor = unfused(x)
            return found
        y: torch.Tensor = _NormStep.apply(x, module.weight, module.variance_epsilon)
        return y

    return forward


def _applies(layer: Any, x: torch.Tensor) -> bool:
    """Whether a gradient is wanted, and the adapter is on and not merged into the weights."""
    return (
        torch.is_grad_enabled()
        and not layer.disable_adapters
        and not layer.merged
        and x.dtype == layer.base_layer.weight.dtype
    )


def _parts(layer: Any) -> tuple[Any, ...]:
    base = layer.base_layer
    return (
        base.weight, base.bias, layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, layer.scaling[ADAPTER],
    )  # fmt: skip
