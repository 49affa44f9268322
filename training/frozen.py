"""Products with frozen weights; on a CPU each weight is laid out once, in the blocks that oneDNN's kernels read.

torch lays a weight out anew for every product, and with few rows that takes longer than the product itself. Measured
on two cores with AVX-512, a weight of 1536 x 576, GFLOP/s as it is and laid out before:

    rows        4         32        256
    float32     40, 120   120, 200  150, 220
    bfloat16    73, 160   250, 380  400, 410

The blocks take the place of the weight, so they cost no memory; who needs gradients needs a second set of them, of the
transposed weight. With two or more rows, what comes out of a row does not depend on how many others there are.
"""

import platform
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

_FORMATS = (torch.float32, torch.bfloat16)


class Frozen(Protocol):
    """W [out, in] and perhaps b of y = x Wᵀ + b, neither of which learns."""

    @property
    def dtype(self) -> torch.dtype:
        """The number format of both."""

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """The output [..., out] for x of shape [..., in]."""

    def gradient(self, grad: torch.Tensor) -> torch.Tensor:
        """Gradient of x, [..., in], from that of the output, [..., out]."""


@dataclass(frozen=True, slots=True)
class Plain:
    """The weight as it is."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Of the weight."""
        return self.weight.dtype

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """The product itself."""
        return functional.linear(x, self.weight, self.bias)

    def gradient(self, grad: torch.Tensor) -> torch.Tensor:
        """Of the output, times W."""
        return grad @ self.weight


class Blocks:
    """The same in oneDNN's layout. ``with_gradient``: with a second layout, for gradients."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None, *, with_gradient: bool = False) -> None:
        weight = weight.detach()
        self.dtype = weight.dtype
        self._shape = tuple(weight.shape)
        self._bias = None if bias is None else bias.detach()
        self._blocks = _blocks_of(weight)
        self._transposed = _blocks_of(weight.T) if with_gradient else None

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """The product itself."""
        return _product(x, self._blocks, self._bias, self._shape[0])

    def gradient(self, grad: torch.Tensor) -> torch.Tensor:
        """Of the output, times W.

        Raises:
            RuntimeError: made without a layout for it.
        """
        if self._transposed is None:
            raise RuntimeError("these blocks were made for products only")
        return _product(grad, self._transposed, None, self._shape[1])


class FrozenLinear(nn.Module):
    """A linear layer whose weight is there in blocks only."""

    def __init__(self, linear: nn.Linear, *, with_gradient: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.frozen = Blocks(linear.weight, linear.bias, with_gradient=with_gradient)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output [..., out] for x of shape [..., in]."""
        if torch.is_grad_enabled() and x.requires_grad:
            y: torch.Tensor = _Step.apply(x, self.frozen)
            return y
        return self.frozen.product(x)


class _Step(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, frozen: Frozen) -> torch.Tensor:
        ctx.frozen = frozen
        return frozen.product(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        return ctx.frozen.gradient(grad), None


def can_lay_out(weight: torch.Tensor) -> bool:
    """Whether oneDNN has blocks for this weight here: on x86, where it was measured and found to keep rows apart."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in _FORMATS
        and platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def freeze(weight: torch.Tensor) -> Frozen:
    """A weight for products only, in blocks where there are such."""
    return Blocks(weight) if can_lay_out(weight) else Plain(weight.detach())


def frozen_of(layer: nn.Module) -> Frozen | None:
    """What a linear layer multiplies by; ``None`` for layers that learn or are of another kind, as in four bits."""
    if isinstance(layer, FrozenLinear):
        return layer.frozen
    if type(layer) is not nn.Linear or any(one.requires_grad for one in layer.parameters()):
        return None
    return Plain(layer.weight, layer.bias)


def lay_out(model: nn.Module, *, with_gradient: bool = False) -> int:
    """Put the weights of all linear layers that do not learn into blocks, in place; returns how many these are.

    Layers of which somebody needs the weight itself (DoRA) stay as they are, and so do all where there are no blocks.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
        and not any(one.requires_grad for one in child.parameters())
        and can_lay_out(child.weight)
        and not getattr(parent, "lora_variant", None)
    ]
    for parent, name, child in found:
        setattr(parent, name, FrozenLinear(child, with_gradient=with_gradient))
    if found:  # safetensors maps a file whole, and it stays in memory as long as any part of it is used
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.clone()
    return len(found)


def _blocks_of(weight: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        blocks: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)  # noqa: SLF001
    return blocks


def _product(x: torch.Tensor, blocks: torch.Tensor, bias: torch.Tensor | None, width: int) -> torch.Tensor:
    if not x.numel():
        return x.new_zeros(*x.shape[:-1], width)
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    rows = functional.pad(rows, (0, 0, 0, padded(count) - count)) if padded(count) > count else rows.contiguous()
    y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, blocks, bias, "none", [], "")  # noqa: SLF001
    return y[:count].reshape(*x.shape[:-1], width)


def padded(rows: int) -> int:
    """So many rows are multiplied for so many that are asked for: in steps of an eighth to a sixteenth.

    oneDNN makes a kernel of a third of a megabyte for each number of rows and keeps a thousand of them; scattered among
    the tensors of a training they held gigabytes of freed memory in place.
    """
    step = max(4, 1 << max(0, rows.bit_length() - 4))
    return -(-rows // step) * step
