"""The loss of every learned token, with the language-model head computed at those tokens only."""

from typing import Any

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from training.data import IGNORED, Batch
from training.frozen import Frozen, frozen_of

# Architectures whose logits are nothing but head(last hidden state): no scaling, no soft cap.
PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "phi3"})
CHUNK_TOKENS = 512
"""Learned tokens whose logits are in memory at a time (512 x 152k float32 = 300 MB)."""


def label_losses(model: Any, batch: Batch) -> torch.Tensor:
    """Negative log-likelihood in nats of every learned token of the batch, float32, shape [learned tokens].

    The head is 28% of a 0.5B forward pass and its logits the largest tensor of all, so they are made for the
    learned positions only, chunk by chunk, and none of them is kept.
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
    if not torch.is_grad_enabled():
        chunks = zip(hidden.split(CHUNK_TOKENS), targets[learned].split(CHUNK_TOKENS), strict=True)
        return torch.cat([_losses(head, *chunk) for chunk in chunks])
    frozen = frozen_of(head)
    if frozen is not None and getattr(head, "bias", None) is None:
        found: torch.Tensor = _FrozenHead.apply(hidden, frozen, targets[learned])
        return found
    chunks = zip(hidden.split(CHUNK_TOKENS), targets[learned].split(CHUNK_TOKENS), strict=True)
    return torch.cat([checkpoint(_losses, head, *chunk, use_reentrant=False) for chunk in chunks])


class _FrozenHead(Function):
    """Losses below a head that does not learn: the gradient at its input is made while the logits are at hand.

    So neither are logits kept nor is the head computed again; what is kept has the shape of its input.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, frozen: Frozen, targets: torch.Tensor) -> torch.Tensor:
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        gradient = torch.empty_like(hidden)
        for start in range(0, len(hidden), CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            wanted = targets[part, None]
            logits = frozen.product(hidden[part]).float()
            logits.sub_(logits.amax(-1, keepdim=True))
            at_target = logits.gather(-1, wanted)
            shares = logits.exp_()
            total = shares.sum(-1, keepdim=True)
            losses[part] = (total.log() - at_target)[:, 0]
            shares.div_(total).scatter_add_(-1, wanted, torch.full_like(total, -1.0))
            gradient[part] = frozen.gradient(shares.to(frozen.dtype))
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad[:, None].to(gradient.dtype), None, None


def _losses(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(head(hidden).float(), targets, reduction="none")
