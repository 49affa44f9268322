"""Losses below the head and their gradients, against what autograd makes of the whole logits."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from training import base, loss
from training.data import IGNORED, Batch

CPU = torch.device("cpu")


@pytest.mark.parametrize("chunk", [1, 7, 512])
@pytest.mark.parametrize("large", [1.0, 1e3])
def test_losses_and_gradients_are_those_of_the_whole_logits(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, large: float
) -> None:
    """Also where logits are so large that their exponentials overflow."""
    monkeypatch.setattr(loss, "CHUNK_TOKENS", chunk)
    model, _ = base.load_base(tiny_base, CPU, torch.float32)
    model.requires_grad_(requires_grad=False)
    model.lm_head.weight.mul_(large)
    first = model.get_input_embeddings().weight.requires_grad_()
    ids = torch.randint(0, 250, (3, 11), generator=torch.Generator().manual_seed(2))
    labels = ids.clone()
    labels[0, :6] = labels[2, 9:] = IGNORED
    weights = torch.rand(int((labels[:, 1:] != IGNORED).sum()), generator=torch.Generator().manual_seed(3))

    losses = loss.label_losses(model, Batch(ids, labels, (1, 2, 3)))
    [ours] = torch.autograd.grad((losses * weights).sum(), first)
    learned = labels[:, 1:] != IGNORED
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1][learned]
    expected = functional.cross_entropy(logits, labels[:, 1:][learned], reduction="none")
    [theirs] = torch.autograd.grad((expected * weights).sum(), first)
    assert torch.allclose(losses, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * large)
    assert theirs.abs().max() > 0
