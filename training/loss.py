"""The loss of every learned token, with the language-model head computed at those tokens only."""

from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from training.data import IGNORED, Batch

# Architectures whose logits are nothing but head(last hidden state): no scaling, no soft cap.
PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "phi3"})
CHUNK_TOKENS = 512
"""Learned tokens whose logits are in memory at a time (512 x 152k float32 = 300 MB)."""


def label_losses(model: Any, batch: Batch) -> torch.Tensor:
    """Negative log-likelihood in nats of every learned token of the batch, float32, shape [learned tokens].

    The head is 28% of a 0.5B forward pass and its logits the largest tensor of all, so they are made for the
    learned positions only, chunk by chunk, and made again in the backward pass.
    """
    causal = model.get_base_model() if hasattr(model, "peft_config") else model
    targets = batch.labels[:, 1:]
    learned = targets != IGNORED
    if causal.config.model_type not in PLAIN_HEADS:
        logits = model(input_ids=batch.ids, use_cache=False).logits
        return functional.cross_entropy(logits[:, :-1][learned].float(), targets[learned], reduction="none")
    decoder = getattr(causal, causal.base_model_prefix)
    hidden = decoder(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1][learned]
    head = causal.get_output_embeddings()
    chunks = zip(hidden.split(CHUNK_TOKENS), targets[learned].split(CHUNK_TOKENS), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(_losses, head, *chunk, use_reentrant=False) for chunk in chunks])
    return torch.cat([_losses(head, *chunk) for chunk in chunks])


def _losses(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(head(hidden).float(), targets, reduction="none")
