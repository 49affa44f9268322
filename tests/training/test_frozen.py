"""Products with frozen weights: what is laid out computes the same, and no row depends on the others."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional

from training import frozen
from training.frozen import Blocks, FrozenLinear, Plain, can_lay_out, frozen_of, lay_out
from training.fused import fuse

SIZES = [(576, 1536), (1536, 576), (576, 192), (576, 48), (48, 1536), (64, 160), (16, 24)]
"""(in, out) of the layers of a small model, of a stack of adapters, and of the tests' own model."""
DTYPES = [torch.float32, torch.bfloat16]
here = pytest.mark.skipif(not can_lay_out(torch.zeros(2, 2)), reason="oneDNN lays nothing out on this machine")


def made(
    size: tuple[int, int], dtype: torch.dtype = torch.float32, rows: int = 70
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size[0] * size[1])
    wide, high = size
    weight, x = torch.randn(high, wide, generator=generator), torch.randn(rows, wide, generator=generator)
    return (weight / wide**0.5).to(dtype), x.to(dtype)


@here
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_blocks_compute_what_the_weight_does(size: tuple[int, int], dtype: torch.dtype) -> None:
    weight, x = made(size, dtype)
    bias, grad = weight[:, 0].clone(), torch.ones(len(x), size[1], dtype=dtype)
    blocks, plain = Blocks(weight, bias, with_gradient=True), Plain(weight, bias)
    assert blocks.dtype == plain.dtype == dtype
    torch.testing.assert_close(blocks.product(x), plain.product(x))
    torch.testing.assert_close(blocks.gradient(grad), plain.gradient(grad))
    torch.testing.assert_close(Blocks(weight).product(x[:0]), plain.product(x[:0]))
    torch.testing.assert_close(Blocks(weight).product(x[None, ::2]), Plain(weight).product(x[None, ::2]))


@here
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_no_row_depends_on_the_others(size: tuple[int, int], dtype: torch.dtype) -> None:
    """The smallest batch of a decoder has four rows; whatever is beside a row, its numbers are the same bits."""
    weight, x = made(size, dtype)
    blocks = Blocks(weight)
    alone = torch.cat([blocks.product(row.expand(4, -1))[:1] for row in x])
    for count in (4, 5, 8, 16, 31, 32, 33, 48, 64, 70):
        assert torch.equal(blocks.product(x[:count]), alone[:count])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    assert torch.equal(blocks.product(x[order]), alone[order])


@here
def test_blocks_without_a_second_layout_have_no_gradient() -> None:
    weight, _ = made((16, 24))
    with pytest.raises(RuntimeError, match="for products only"):
        Blocks(weight).gradient(torch.ones(1, 24))


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(16, 24)
        self.out = nn.Linear(24, 16, bias=False)
        self.learns = nn.Linear(16, 16)
        self.q_proj.requires_grad_(requires_grad=False)
        self.out.requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(functional.silu(self.q_proj(self.learns(x))))
        return y


@here
def test_a_model_that_was_laid_out_has_the_same_outputs_and_gradients() -> None:
    torch.manual_seed(0)
    model, x = _Small(), torch.randn(3, 5, 16)
    plain = model(x)
    plain.square().sum().backward()
    wanted = model.learns.weight.grad
    model.learns.weight.grad = None
    assert lay_out(model, with_gradient=True) == 2
    assert [type(layer) for layer in model.children()] == [FrozenLinear, FrozenLinear, nn.Linear]
    again = model(x)
    again.square().sum().backward()
    torch.testing.assert_close(again, plain)
    torch.testing.assert_close(model.learns.weight.grad, wanted)
    with torch.no_grad():
        torch.testing.assert_close(model(x), plain)


@here
def test_dora_keeps_the_weight_itself() -> None:
    for use_dora, kinds in ((False, {FrozenLinear}), (True, {nn.Linear})):
        model = get_peft_model(_Small(), LoraConfig(target_modules=["q_proj", "out"], use_dora=use_dora))
        lay_out(model, with_gradient=True)
        assert {
            type(layer.base_layer) for name, layer in model.named_modules() if hasattr(layer, "base_layer")
        } == kinds
        assert fuse(model) == (0 if use_dora else 2)


@pytest.mark.parametrize(
    ("device", "machine", "dtype", "there"),
    [
        ("cpu", "x86_64", torch.float32, True),
        ("cpu", "AMD64", torch.bfloat16, True),
        ("cpu", "arm64", torch.float32, False),
        ("cpu", "x86_64", torch.float16, False),
        ("meta", "x86_64", torch.float32, False),
    ],
)
def test_only_what_was_measured_is_laid_out(
    device: str, machine: str, dtype: torch.dtype, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen.platform, "machine", lambda: machine)
    weight = torch.zeros(2, 3, dtype=dtype, device=device)
    assert can_lay_out(weight) is (there and torch.backends.mkldnn.is_available())


def test_where_there_are_no_blocks_everything_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "can_lay_out", lambda _weight: False)
    model = _Small()
    assert lay_out(model) == 0
    assert isinstance(frozen.freeze(model.out.weight), Plain)
    assert type(model.out) is nn.Linear


def test_what_learns_or_is_of_another_kind_is_not_frozen() -> None:
    model = _Small()
    assert frozen_of(model.learns) is None
    assert frozen_of(nn.Embedding(3, 4)) is None
    found = frozen_of(model.q_proj)
    assert isinstance(found, Plain)
    assert (found.weight is model.q_proj.weight, found.bias is model.q_proj.bias) == (True, True)


def test_few_numbers_of_rows_are_multiplied_and_little_is_added() -> None:
    counts = [frozen.padded(rows) for rows in range(1, 4097)]
    assert all(0 <= count - rows <= max(3, rows / 8) for rows, count in enumerate(counts, 1))
    assert counts == sorted(counts)
    assert len(set(counts)) <= 80
    assert {frozen.padded(rows) for rows in (4, 8, 16, 32, 64)} == {4, 8, 16, 32, 64}  # of a decoder
