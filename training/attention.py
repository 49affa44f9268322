"""Attention over long rows, in chunks of queries, where a device would hold the scores of all queries at once.

On MPS, attention that learns keeps heads x length² scores for the backward pass, and beyond 2³² bytes of them the
process is aborted. Here the queries come in chunks, each looks only at the keys up to its last query, and its scores
are made again for the gradient, so that they are never all there. CUDA and the CPU have kernels that do so themselves.

Measured on a CPU that was made to compute as MPS does (torch's math backend), one layer of the shape of SmolLM2-135M (9
heads, 3 of keys, 64 channels), float32, one row, forwards and backwards, growth of the peak memory of the process:

    4,096 tokens, all queries at once     1,821 MiB (grows with the square of the length)
    4,096 tokens in chunks                  556 MiB
    8,192 tokens in chunks                1,108 MiB
    16,384 tokens in chunks               1,369 MiB
"""

from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.errors import RecipeError

NAME = "sdpa_in_chunks"
CHUNK_QUERIES = 1024
SCORE_BYTES = 2**28
"""Of one chunk, over all rows and heads of a batch; a longer batch gets shorter chunks."""
LEAST_QUERIES = 16
"""In a chunk: below it, starting each takes longer than computing it."""
HOLDS_ALL_SCORES = ("mps",)
"""Types of devices on which torch has no kernel that learns without them."""


def prepare(model: Any, device: torch.device, max_length: int) -> None:
    """Make a freshly loaded base ready for rows of up to ``max_length`` tokens.

    Raises:
        RecipeError: the base has fewer positions.
    """
    limit = positions(model.config)
    if limit is not None and max_length > limit:
        raise RecipeError(
            f"train.max_length = {max_length} is more than the {limit} positions that this base model knows; nothing "
            "was trained: lower it, or use a base model whose config.json stretches them (rope_scaling, such as yarn)"
        )
    if device.type in HOLDS_ALL_SCORES:
        use_chunks(model)


def positions(config: Any) -> int | None:
    """Tokens that a model can tell apart by their place; None where its config does not say.

    With scaled rotary embeddings, those of its first training times the factor, where that is more.
    """
    known = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if known is None or rope.get("rope_type", "default") == "default":
        return known
    first = rope.get("original_max_position_embeddings") or known
    return max(known, int(first * rope.get("factor", 1.0)))


def use_chunks(model: Any) -> None:
    """Let all layers of a transformers model attend in chunks from now on; masks are those of SDPA."""
    AttentionInterface.register(NAME, attention_in_chunks)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def attention_in_chunks(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,  # noqa: FBT001 - transformers' own signature
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers' ``sdpa_attention_forward`` gives, in chunks where the queries are many.

    Args:
        module: the layer; tells the groups of its keys, and whether it is causal.
        query: shape [rows, heads, queries, channels].
        key: shape [rows, heads / groups, keys, channels].
        value: the same shape as ``key``.
        attention_mask: shape [rows or 1, heads or 1, queries, keys], true or added; None: causal, or none at all.
        dropout: share of the weights that is dropped.
        scaling: of the scores; None: 1 / sqrt(channels).
        is_causal: overrides what the layer says.
        more: what only SDPA itself can do is left to it.

    Returns:
        Shape [rows, queries, heads, channels], and None for the weights.
    """
    rows, heads, queries, _ = query.shape
    size = chunk_size(rows * heads, key.shape[2])
    if queries <= size or any(value is not None for name, value in more.items() if name in {"position_bias", "cache"}):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **more
        )
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    causal = attention_mask is None and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    learns = torch.is_grad_enabled() and any(one.requires_grad for one in (query, key, value))
    chunks = []
    for start in range(0, queries, size):
        stop = min(start + size, queries)
        seen = stop if causal else key.shape[2]
        mask = None if attention_mask is None else attention_mask[:, :, start:stop]
        given = (query[:, :, start:stop], key[:, :, :seen], value[:, :, :seen], mask, start, causal, dropout, scaling)
        chunks.append(checkpoint(_chunk, *given, use_reentrant=False) if learns else _chunk(*given))
    return torch.cat(chunks, dim=2).transpose(1, 2).contiguous(), None


def chunk_size(rows_and_heads: int, keys: int) -> int:
    """Queries of a chunk, so that its float32 scores stay within ``SCORE_BYTES``."""
    return max(LEAST_QUERIES, min(CHUNK_QUERIES, SCORE_BYTES // (4 * rows_and_heads * keys)))


def _chunk(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, start: int,
    causal: bool, dropout: float, scaling: float | None,  # noqa: FBT001 - checkpoint passes by place
) -> torch.Tensor:  # fmt: skip
    """Queries ``start`` … of a row against the keys that they may see."""
    if causal:
        own = torch.arange(start, start + query.shape[2], device=query.device)
        mask = own[:, None] >= torch.arange(key.shape[2], device=query.device)
    return functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout, scale=scaling)
