"""Layers that keep less for the backward pass and make fewer passes over memory; they compute the same.

A LoRA layer by peft makes five passes over its output, an RMS norm four, and a gated MLP keeps four tensors of its
inner width. Here each is one step of autograd that keeps what cannot be had again cheaply:

    y = x Wᵀ + s (x' Aᵀ) Bᵀ           keeps x and x' Aᵀ (rank r); the update is added in place
    y = w · x / rms(x)                keeps x and 1 / rms(x)
    y = LoRA(silu(g) · u)             keeps g and u; the product is made again for the gradient of A

x' is x, or with dropout d · x / (1 - p), of which the mask d is kept, one byte a number and drawn as peft draws it.
Where the frozen weights are in half precision and the adapter in float32, x, g and u are kept in half precision and
what the adapter computes is computed in float32, as by peft. Only layers that are one of those above; every other stays
as peft and transformers have it, so that what is trained and saved is theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.activations import SiLUActivation

from training.frozen import Frozen, frozen_of

ADAPTER = "default"
HALF = (torch.bfloat16, torch.float16)


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


@dataclass(frozen=True, slots=True)
class _Dropped:
    """What an adapter does not see of its input: ``mask`` is true where it does, [tokens, in]."""

    mask: torch.Tensor | None
    share: float = 0.0

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """The input with the rest made larger, as by torch's dropout; itself where nothing is dropped."""
        return x if self.mask is None else x.mul(self.mask).mul_(1 / (1 - self.share))


class _LoraStep(Function):
    """y = x Wᵀ + b + s (x' Aᵀ) Bᵀ for x of shape [tokens, in]; W and b are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, mask: torch.Tensor | None, frozen: Frozen, a: torch.Tensor, b: torch.Tensor,
        scale: float, share: float,
    ) -> torch.Tensor:  # fmt: skip
        y, narrow = _lora(x, _Dropped(mask, share), frozen, a, b, scale)
        ctx.save_for_backward(x, mask, narrow, a, b)
        ctx.frozen, ctx.scale, ctx.share = frozen, scale, share
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, mask, narrow, a, b = ctx.saved_tensors
        grad_x, grad_a, grad_b = _lora_gradients(
            grad, x, _Dropped(mask, ctx.share), narrow, ctx.frozen, a, b, ctx.scale, wants_x=ctx.needs_input_grad[0]
        )
        return grad_x, None, None, grad_a, grad_b, None, None


class _GatedLoraStep(Function):
    """The same for x = silu(gate) · up, which is made again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, up: torch.Tensor, mask: torch.Tensor | None, frozen: Frozen,
        a: torch.Tensor, b: torch.Tensor, scale: float, share: float,
    ) -> torch.Tensor:  # fmt: skip
        x = functional.silu(gate).mul_(up)
        y, narrow = _lora(x, _Dropped(mask, share), frozen, a, b, scale)
        ctx.save_for_backward(gate, up, mask, narrow, a, b)
        ctx.frozen, ctx.scale, ctx.share = frozen, scale, share
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        gate, up, mask, narrow, a, b = ctx.saved_tensors
        open_ = torch.sigmoid(gate)
        silu = gate * open_
        dropped = _Dropped(mask, ctx.share)
        grad_x, grad_a, grad_b = _lora_gradients(grad, silu * up, dropped, narrow, ctx.frozen, a, b, ctx.scale)
        grad_up = silu * grad_x
        # silu' = sigmoid + silu (1 - sigmoid)
        grad_gate = silu.sub_(silu * open_).add_(open_).mul_(up).mul_(grad_x)
        return grad_gate, grad_up, None, None, grad_a, grad_b, None, None


class _NormStep(Function):
    """y = w · x / sqrt(mean(x²) + ε) over the last dimension, in float32 but for the product with the frozen w."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = x.float()
        factor = torch.rsqrt(wide.square().mean(-1, keepdim=True).add_(epsilon))
        ctx.save_for_backward(x, factor, weight)
        return (wide * factor).to(x.dtype).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, factor, weight = ctx.saved_tensors
        inner = (grad * weight).float()
        along = (inner * x).mean(-1, keepdim=True).mul_(factor.square())
        return inner.sub_(along * x).mul_(factor).to(x.dtype), None, None


def _lora(
    x: torch.Tensor, dropped: _Dropped, frozen: Frozen, a: torch.Tensor, b: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer's output, and x' Aᵀ."""
    narrow = dropped.of(x.to(a.dtype)) @ a.T
    return _add_product(frozen.product(x), narrow, b.T, scale), narrow


def _lora_gradients(
    grad: torch.Tensor, x: torch.Tensor, dropped: _Dropped, narrow: torch.Tensor, frozen: Frozen, a: torch.Tensor,
    b: torch.Tensor, scale: float, *, wants_x: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:  # fmt: skip
    wide = grad.to(b.dtype)
    down = (wide @ b).mul_(scale)
    grad_x = None
    if wants_x:
        grad_x = frozen.gradient(grad)
        if dropped.mask is None:
            grad_x = _add_product(grad_x, down, a)
        else:
            grad_x.add_(dropped.of(down @ a))
    return grad_x, down.T @ dropped.of(x.to(a.dtype)), (wide.T @ narrow).mul_(scale)


def _add_product(y: torch.Tensor, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """Add scale · left @ right to y in place; rounded once where y is in half precision."""
    if y.dtype == left.dtype:
        return y.addmm_(left, right, alpha=scale)
    return y.add_(left @ right, alpha=scale)


def _is_plain(layer: Any) -> bool:
    """Whether this is nothing but y = W x + s B A x with one adapter, dropout before A aside."""
    frozen = frozen_of(layer.base_layer)
    return (
        frozen is not None
        and list(layer.lora_A) == [ADAPTER]
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[ADAPTER], nn.Identity | nn.Dropout)
        and layer.lora_A[ADAPTER].bias is None
        and layer.lora_B[ADAPTER].bias is None
        and _fit(frozen.dtype, layer.lora_A[ADAPTER].weight.dtype)
    )


def _fit(frozen: torch.dtype, learned: torch.dtype) -> bool:
    """Whether the formats of weights and adapter are those of which peft's arithmetic is reproduced."""
    return frozen == learned or (learned is torch.float32 and frozen in HALF)


def _is_gated(module: Any) -> bool:
    """Whether this is down(silu(gate(x)) · up(x)) with a plain adapter on ``down``."""
    return (
        {"gate_proj", "up_proj", "down_proj"} <= dict(module.named_children()).keys()
        and isinstance(module.down_proj, LoraLinear)
        and _is_plain(module.down_proj)
        and isinstance(getattr(module, "act_fn", None), nn.SiLU | SiLUActivation)
    )


def _is_rms_norm(module: Any) -> bool:
    return (
        type(module).__name__.endswith("RMSNorm")
        and isinstance(getattr(module, "variance_epsilon", None), float)
        and module.weight.dtype in (torch.float32, *HALF)
        and not module.weight.requires_grad
    )


def _lora_forward(layer: Any) -> Callable[..., torch.Tensor]:
    unfused = layer.forward

    def forward(x: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
        if more or options or not _applies(layer, x):
            found: torch.Tensor = unfused(x, *more, **options)
            return found
        flat = x.flatten(0, -2)
        y: torch.Tensor = _LoraStep.apply(flat, _mask(layer, flat), *_parts(layer))
        return y.unflatten(0, x.shape[:-1])

    return forward


def _gated_forward(module: Any) -> Callable[..., torch.Tensor]:
    unfused = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not _applies(module.down_proj, x):
            found: torch.Tensor = unfused(x)
            return found
        gate, up = module.gate_proj(x).flatten(0, -2), module.up_proj(x).flatten(0, -2)
        mask = _mask(module.down_proj, gate)
        y: torch.Tensor = _GatedLoraStep.apply(gate, up, mask, *_parts(module.down_proj))
        return y.unflatten(0, x.shape[:-1])

    return forward


def _norm_forward(module: Any) -> Callable[..., torch.Tensor]:
    unfused = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.dtype is not module.weight.dtype or not torch.is_grad_enabled():
            found: torch.Tensor = unfused(x)
            return found
        y: torch.Tensor = _NormStep.apply(x, module.weight, module.variance_epsilon)
        return y

    return forward


def _applies(layer: Any, x: torch.Tensor) -> bool:
    """Whether a gradient is wanted, and the adapter is on and not merged into the weights."""
    return (
        torch.is_grad_enabled() and not layer.disable_adapters and not layer.merged and x.dtype == _frozen(layer).dtype
    )


def _mask(layer: Any, x: torch.Tensor) -> torch.Tensor | None:
    """What dropout keeps of the adapter's input; ``None``: all of it."""
    dropout = layer.lora_dropout[ADAPTER]
    if not isinstance(dropout, nn.Dropout) or not dropout.training or not dropout.p:
        return None
    return torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - dropout.p)


def _parts(layer: Any) -> tuple[Any, ...]:
    dropout = layer.lora_dropout[ADAPTER]
    share = dropout.p if isinstance(dropout, nn.Dropout) else 0.0
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    return _frozen(layer), a, b, layer.scaling[ADAPTER], share


def _frozen(layer: Any) -> Frozen:
    frozen = frozen_of(layer.base_layer)
    if frozen is None:
        raise RuntimeError("a fused layer learns its base")
    return frozen
