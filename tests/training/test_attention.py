"""Attention in chunks gives what SDPA gives, forwards and backwards, and never holds the scores of all queries."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from training import attention, base, data, lora
from training.config import LoraSettings, Recipe
from training.errors import RecipeError
from training.fused import fuse
from training.loss import label_losses
from training.perplexity import measure_loss
from training.sft import train

CPU = torch.device("cpu")
QUERIES = 37


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of eight, so that what a test can afford takes several and the last is not whole."""
    monkeypatch.setattr(attention, "CHUNK_QUERIES", 8)


def layer(groups: int = 1, *, is_causal: bool = True) -> Any:
    return SimpleNamespace(num_key_value_groups=groups, is_causal=is_causal)


def inputs(groups: int = 1, queries: int = QUERIES, keys: int = QUERIES) -> list[torch.Tensor]:
    """Query, key and value of two rows with six heads of queries; the same at every call."""
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 6, queries, 8), (2, 6 // groups, keys, 8), (2, 6 // groups, keys, 8))
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def both(given: list[torch.Tensor], *arguments: Any, **options: Any) -> list[list[torch.Tensor]]:
    """Output and gradients, by chunks and by SDPA. The loss is no mere sum, whose gradient would be flat."""
    results = []
    for forward in (attention.attention_in_chunks, sdpa_attention_forward):
        module, mask = arguments
        torch.manual_seed(11)
        output, nothing = forward(module, *given, mask, **options)
        assert nothing is None
        gradients = torch.autograd.grad((output * torch.linspace(-1, 1, output.shape[1])[:, None, None]).sum(), given)
        results.append([output, *gradients])
    return results


def padding_mask(kind: str) -> torch.Tensor:
    """Causal, with five keys of the second row padded away; as true or false, or to be added."""
    mask = torch.ones(QUERIES, QUERIES, dtype=torch.bool).tril().repeat(2, 1, 1, 1)
    mask[1, :, :, 20:25] = False
    return mask if kind == "bool" else torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("kind", ["causal", "bool", "float", "all"])
@pytest.mark.parametrize("scaling", [None, 0.2])
def test_outputs_and_gradients_are_those_of_sdpa(groups: int, kind: str, scaling: float | None) -> None:
    mask = padding_mask(kind) if kind in {"bool", "float"} else None
    module = layer(groups, is_causal=kind != "all")
    ours, theirs = both(inputs(groups), module, mask, scaling=scaling)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-5)
        assert other.abs().max() > 1e-3


@pytest.mark.usefixtures("short_chunks")
def test_what_a_call_says_of_causality_counts_more_than_the_layer() -> None:
    ours, theirs = both(inputs(), layer(is_causal=True), None, is_causal=False)
    causal, _ = both(inputs(), layer(is_causal=True), None)
    assert torch.allclose(ours[0], theirs[0], atol=1e-5)
    assert not torch.allclose(ours[0], causal[0], atol=1e-2)


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize(("queries", "keys"), [(1, 30), (8, 8), (20, 45)])
def test_decoding_short_rows_and_spare_keys_are_as_with_sdpa(queries: int, keys: int) -> None:
    ours, theirs = both(inputs(queries=queries, keys=keys), layer(), None)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.usefixtures("short_chunks")
def test_the_backward_pass_drops_what_the_forward_pass_dropped() -> None:
    """The derivative by finite differences of the very same draw."""
    given = [one.detach().double().requires_grad_() for one in inputs()]

    def drawn(value: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(4)
        return attention.attention_in_chunks(layer(), *given[:2], value, None, dropout=0.4)[0].square().sum()

    (gradient,) = torch.autograd.grad(drawn(given[2]), given[2])
    direction = torch.randn(gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-6
    with torch.no_grad():
        slope = (drawn(given[2] + step * direction) - drawn(given[2] - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5)


class Largest(TorchDispatchMode):
    """The most numbers that any operation below gave out."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), options: Any = None) -> Any:
        result = function(*given, **(options or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def most_held(forward: Any, length: int) -> tuple[int, int]:
    """Numbers of the largest tensor on the way, and numbers kept for the backward pass; as on MPS, without a kernel."""
    query, key, value = (
        torch.randn(1, heads, length, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        for heads in (4, 2, 2)
    )
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with sdpa_kernel(SDPBackend.MATH), Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output, _ = forward(layer(2), query, key, value, None)
        held = sum(kept.values())
        output.square().sum().backward()
    return largest.numbers, held


def test_neither_the_forward_nor_the_backward_pass_holds_all_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "CHUNK_QUERIES", 64)
    length = 1024
    scores = 4 * length**2
    whole, kept_whole = most_held(sdpa_attention_forward, length)
    largest, kept = most_held(attention.attention_in_chunks, length)
    assert whole >= scores
    assert kept_whole >= scores
    assert largest <= scores // 16
    assert kept <= scores // 16


@pytest.mark.parametrize(("rows_and_heads", "keys"), [(1, 100), (9, 16_384), (128, 16_384), (128, 131_072)])
def test_a_chunk_stays_within_its_memory_unless_it_would_be_too_short(rows_and_heads: int, keys: int) -> None:
    size = attention.chunk_size(rows_and_heads, keys)
    assert attention.LEAST_QUERIES <= size <= attention.CHUNK_QUERIES
    assert size * rows_and_heads * keys * 4 <= attention.SCORE_BYTES or size == attention.LEAST_QUERIES
    assert size * rows_and_heads * keys * 4 < 2**32


@pytest.mark.usefixtures("short_chunks")
def test_a_whole_model_learns_the_same_with_chunks(tiny_base: Path, tokenizer: Any, train_file: Path) -> None:
    rows = data.encode(
        tokenizer, data.read_conversations(train_file), max_length=1024, assistant_only_loss=True
    ).rows  # fmt: skip
    batch = data.collate(rows[:4], CPU)
    found = []
    for chunks in (False, True):
        torch.manual_seed(5)
        model, _ = base.load_base(tiny_base, CPU, torch.float32)
        if chunks:
            attention.use_chunks(model)
        model = lora.attach_lora(model, LoraSettings(r=4, lora_alpha=8))
        fuse(model)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
        assert (model.config._attn_implementation == attention.NAME) is chunks
        loss = label_losses(model.train(), batch).mean()
        loss.backward()
        gradients = [one.grad for one in model.parameters() if one.requires_grad]
        found.append((loss.detach(), gradients, measure_loss(model, rows, batch_size=4, device=CPU).mean))
    (plain, theirs, plain_mean), (chunked, ours, chunked_mean) = found
    assert torch.allclose(plain, chunked, atol=1e-6)
    assert plain_mean == pytest.approx(chunked_mean, rel=1e-6)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-4)
    assert any(other.abs().max() > 1e-3 for other in theirs)


@pytest.mark.usefixtures("short_chunks")
def test_padding_on_the_left_is_masked_as_with_sdpa(tiny_base: Path) -> None:
    ids = torch.randint(0, 250, (2, 30), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 30, dtype=torch.long)
    mask[0, :11] = 0
    logits = []
    for chunks in (False, True):
        model, _ = base.load_base(tiny_base, CPU, torch.float32)
        if chunks:
            attention.use_chunks(model)
        with torch.no_grad():
            logits.append(model(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()])
    assert torch.allclose(*logits, atol=1e-5)


def test_only_a_device_without_a_kernel_attends_in_chunks(tiny_base: Path) -> None:
    for kind, name in (("cpu", "sdpa"), ("cuda", "sdpa"), ("mps", attention.NAME)):
        model, _ = base.load_base(tiny_base, CPU, torch.float32)
        attention.prepare(model, torch.device(kind), 1024)
        assert model.config._attn_implementation == name


def test_rows_longer_than_the_base_has_positions_are_refused_before_training(
    tiny_base: Path, train_file: Path, validation_file: Path, recipe: Recipe, tmp_path: Path
) -> None:
    long = replace(recipe, train=replace(recipe.train, max_length=4097))
    with pytest.raises(RecipeError, match=r"max_length = 4097 is more than the 4096 positions .*rope_scaling"):
        train(long, tiny_base, train_file, validation_file, tmp_path / "out", run_name="r", device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"max_position_embeddings": 8192}, 8192),
        ({"max_position_embeddings": 8192, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 8192),
        (
            {
                "max_position_embeddings": 32768,
                "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
            },
            131072,
        ),
        ({"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "linear", "factor": 2.0}}, 4096),
    ],
)
def test_positions_are_what_the_config_says(config: dict[str, Any], expected: int | None) -> None:
    assert attention.positions(SimpleNamespace(**config)) == expected
