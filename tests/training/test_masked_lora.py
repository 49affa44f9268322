"""The masked stack computes, row by row, what peft computes for that row's adapter."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from training.base import load_base
from training.errors import AdapterError
from training.lora import LoraPair, read_adapter
from training.masked_lora import MaskedLora

CPU = torch.device("cpu")


def fresh(folder: Path) -> Any:
    return load_base(folder, CPU, torch.float32)[0]


def test_every_row_of_a_mixed_batch_gets_the_logits_of_its_own_adapter(
    tiny_base: Path, adapters: dict[str, Path]
) -> None:
    ids = torch.randint(0, 250, (5, 20), generator=torch.Generator().manual_seed(0))
    names = ["wide", None, "narrow", "wide", None]
    model = fresh(tiny_base)
    stack = MaskedLora(model, {name: read_adapter(path) for name, path in adapters.items()})
    with torch.no_grad(), stack.rows(names):
        mixed = model(input_ids=ids).logits
    for row, name in enumerate(names):
        alone = fresh(tiny_base)
        if name:
            alone = PeftModel.from_pretrained(alone, adapters[name]).eval()
        with torch.no_grad():
            expected = alone(input_ids=ids[row : row + 1]).logits[0]
        torch.testing.assert_close(mixed[row], expected, atol=1e-4, rtol=0)
    assert (mixed[0] - mixed[1]).abs().max() > 0.1


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_an_adapter_said_of_all_rows_computes_what_it_does_in_a_mixed_batch(
    tiny_base: Path, adapters: dict[str, Path], stored: torch.dtype
) -> None:
    """Prompts are read in the one way and continued in the other, so they must agree, however the adapter is stored."""
    ids = torch.randint(0, 250, (2, 20), generator=torch.Generator().manual_seed(0))
    read = {
        name: {
            layer: replace(pair, a=pair.a.to(stored), b=pair.b.to(stored), scale=1 / 3)
            for layer, pair in read_adapter(path).items()
        }
        for name, path in adapters.items()
    }
    model = fresh(tiny_base)
    stack = MaskedLora(model, read)
    for name in (None, *adapters):
        with torch.no_grad():
            with stack.rows([name, None]):
                mixed = model(input_ids=ids).logits[0]
            stack.set_all(stack.index(name))
            torch.testing.assert_close(model(input_ids=ids).logits[0], mixed, atol=1e-5, rtol=0)


def test_rows_of_a_dora_get_what_peft_computes_and_the_others_their_very_bits(
    tiny_base: Path, adapters: dict[str, Path]
) -> None:
    ids = torch.randint(0, 250, (5, 20), generator=torch.Generator().manual_seed(0))
    names = ["dora", None, "wide", "dora", "narrow"]
    read = {name: read_adapter(path) for name, path in adapters.items()}
    mixed_model, plain_model = fresh(tiny_base), fresh(tiny_base)
    with torch.no_grad():
        with MaskedLora(mixed_model, read).rows(names):
            mixed = mixed_model(input_ids=ids).logits
        without = {name: {layer: replace(p, magnitude=None) for layer, p in one.items()} for name, one in read.items()}
        with MaskedLora(plain_model, without).rows(names):
            plain = plain_model(input_ids=ids).logits
        peft = PeftModel.from_pretrained(fresh(tiny_base), adapters["dora"]).eval()
        expected = peft(input_ids=ids).logits
    for row, name in enumerate(names):
        if name == "dora":
            torch.testing.assert_close(mixed[row], expected[row], atol=1e-5, rtol=0)
            assert (mixed[row] - plain[row]).abs().max() > 1e-3
        else:
            assert torch.equal(mixed[row], plain[row])


def test_a_bias_is_not_stretched(tiny_base: Path) -> None:
    """Of y = s (W x + B A x) + b; the tiny model has no biases, so one layer is given one."""
    generator = torch.Generator().manual_seed(1)
    layer = "model.layers.0.self_attn.q_proj"
    model = fresh(tiny_base)
    linear = model.get_submodule(layer)
    linear.bias = torch.nn.Parameter(torch.randn(64, generator=generator))
    a, b = torch.randn(2, 64, generator=generator), torch.randn(64, 2, generator=generator)
    pair = LoraPair(a, b, 0.5, torch.rand(64, generator=generator) + 1)
    stack = MaskedLora(model, {"dora": {layer: pair}})
    x = torch.randn(2, 3, 64, generator=generator)
    with torch.no_grad(), stack.rows(["dora", None]):
        y = model.get_submodule(layer)(x)
    changed = (linear.weight + 0.5 * b @ a).detach().double()
    weight = pair.magnitude.double()[:, None] * changed / changed.square().sum(1).sqrt()[:, None]
    torch.testing.assert_close(y[0].double(), x[0].double() @ weight.T + linear.bias.double(), atol=1e-5, rtol=0)
    assert torch.equal(y[1], linear(x)[1])


def test_an_adapter_of_another_base_or_with_another_layer_is_refused(tiny_base: Path) -> None:
    layer = "model.layers.0.self_attn.q_proj"
    good = LoraPair(torch.zeros(2, 64), torch.zeros(64, 2), 1.0)
    for layer_name, pair, reason in (
        (layer, LoraPair(torch.zeros(2, 99), torch.zeros(64, 2), 1.0), "the shape of"),
        ("model.layers.9.self_attn.q_proj", good, "there is no layer"),
        ("model.norm", good, "not a linear layer"),
    ):
        with pytest.raises(AdapterError, match=reason):
            MaskedLora(fresh(tiny_base), {"bad": {layer_name: pair}})


def test_an_unknown_adapter_is_refused_by_name(tiny_base: Path) -> None:
    stack = MaskedLora(fresh(tiny_base), {})
    with pytest.raises(AdapterError, match="no adapter absent"):
        stack.index("absent")


def test_a_batch_whose_rows_were_not_set_is_an_error_not_a_guess(tiny_base: Path, adapters: dict[str, Path]) -> None:
    model = fresh(tiny_base)
    MaskedLora(model, {"wide": read_adapter(adapters["wide"])})
    with pytest.raises(RuntimeError, match="must be set"):
        model(input_ids=torch.zeros(1, 3, dtype=torch.long))
