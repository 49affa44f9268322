"""Fused layers compute what peft and transformers compute, forwards and backwards, and step aside where they cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from training import base, lora
from training.config import LoraSettings
from training.fused import ADAPTER, fuse

CPU = torch.device("cpu")


@pytest.fixture
def adapted(tiny_base: Path) -> Callable[..., Any]:
    """The tiny model with an adapter that is not zero; the same weights at every call."""

    def make(dtype: torch.dtype = torch.float32, **settings: Any) -> Any:
        torch.manual_seed(5)
        model, _ = base.load_base(tiny_base, CPU, dtype)
        model = lora.attach_lora(model, LoraSettings(r=4, lora_alpha=8, **settings))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.05)
        return model.train()

    return make


def gradients(model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss, and the gradient of every weight that learns."""
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


IDS = torch.randint(0, 250, (3, 17), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"target_modules": ("q_proj", "down_proj")}])
def test_loss_and_gradients_are_those_of_the_unfused_layers(
    adapted: Callable[..., Any], settings: dict[str, Any]
) -> None:
    plain, fused = adapted(**settings), adapted(**settings)
    layers = sum(isinstance(module, lora_layer()) for module in fused.modules())
    assert fuse(fused) == layers + 5 + 2  # five norms and two MLPs
    (one, theirs), (other, ours) = gradients(plain, IDS), gradients(fused, IDS)
    assert torch.allclose(one, other, atol=1e-6)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.allclose(gradient, ours[name], atol=1e-6, rtol=1e-4), name
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("lora_dropout", [0.0, 0.3])
def test_less_is_kept_for_the_backward_pass(
    adapted: Callable[..., Any], dtype: torch.dtype, lora_dropout: float
) -> None:
    def kept(model: Any) -> int:
        """Bytes of what autograd holds between the passes, weights not counted."""
        weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        held: list[torch.Tensor] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            held.append(tensor)  # so that no storage is given to another tensor before all are counted
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(input_ids=IDS, use_cache=False)
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
        return sum(size for place, size in storages.items() if place not in weights)

    plain, fused = (adapted(dtype, lora_dropout=lora_dropout) for _ in range(2))
    fuse(fused)
    assert kept(fused) < 0.8 * kept(plain)


def lora_layer() -> type:
    from peft.tuners.lora import Linear  # noqa: PLC0415

    return Linear


def test_an_adapter_that_is_off_changes_nothing(adapted: Callable[..., Any], tiny_base: Path) -> None:
    fused = adapted()
    fuse(fused)
    bare, _ = base.load_base(tiny_base, CPU, torch.float32)
    with fused.disable_adapter():
        assert torch.equal(fused(input_ids=IDS).logits, bare(input_ids=IDS).logits)
    with torch.no_grad():
        assert not torch.allclose(fused(input_ids=IDS).logits, bare(input_ids=IDS).logits)


def test_what_dropout_leaves_out_is_what_peft_leaves_out(adapted: Callable[..., Any]) -> None:
    plain, fused = adapted(lora_dropout=0.4), adapted(lora_dropout=0.4)
    layers = sum(isinstance(module, lora_layer()) for module in fused.modules())
    assert fuse(fused) == layers + 5 + 2
    found = []
    for model in (plain, fused):
        torch.manual_seed(9)
        found.append(gradients(model, IDS))
    (one, theirs), (other, ours) = found
    assert torch.allclose(one, other, atol=1e-6)
    for name, gradient in theirs.items():
        assert torch.allclose(gradient, ours[name], atol=1e-6, rtol=1e-4), name
    torch.manual_seed(10)
    assert not torch.allclose(gradients(fused, IDS)[0], other, atol=1e-4)
    fused.eval()
    assert torch.allclose(gradients(fused, IDS)[0], gradients(plain.eval(), IDS)[0], atol=1e-6)


@pytest.mark.parametrize("lora_dropout", [0.0, 0.3])
def test_in_half_precision_the_error_is_that_of_the_unfused_layers(
    adapted: Callable[..., Any], lora_dropout: float
) -> None:
    truth, plain, fused = (
        adapted(dtype, lora_dropout=lora_dropout) for dtype in (torch.float32, torch.bfloat16, torch.bfloat16)
    )
    layers = sum(isinstance(module, lora_layer()) for module in fused.modules())
    assert fuse(fused) == layers + 5 + 2
    losses, found = [], []
    for model in (truth, plain, fused):
        torch.manual_seed(9)
        loss, gradient = gradients(model, IDS)
        losses.append(float(loss))
        found.append(torch.cat([one.flatten() for one in gradient.values()]))
    exact, theirs, ours = found
    assert exact.dtype == theirs.dtype == ours.dtype == torch.float32
    assert losses[2] == pytest.approx(losses[1], rel=1e-3)
    assert 0 < (ours - exact).norm() < 1.1 * (theirs - exact).norm() < 0.1 * exact.norm()


def test_layers_in_another_number_format_stay_as_they_are(adapted: Callable[..., Any]) -> None:
    model = adapted()
    for module in model.modules():
        if isinstance(module, lora_layer()):
            module.base_layer.to(torch.float64)
    before = {name: module.forward for name, module in model.named_modules() if isinstance(module, lora_layer())}
    fuse(model)
    assert before == {n: module.forward for n, module in model.named_modules() if isinstance(module, lora_layer())}
    assert all(list(module.lora_A) == [ADAPTER] for module in model.modules() if isinstance(module, lora_layer()))


def test_what_is_saved_is_what_peft_saves(adapted: Callable[..., Any]) -> None:
    plain, fused = adapted(), adapted()
    fuse(fused)
    (tensors, config), (theirs, told) = lora.adapter_contents(fused, "tiny"), lora.adapter_contents(plain, "tiny")
    assert config == told
    assert tensors.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in tensors.items())
