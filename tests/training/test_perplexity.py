"""The loss is exact: the same as the model's own logits give, whatever the batch size."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from training import data
from training.base import load_base
from training.errors import Cancelled
from training.loss import PLAIN_HEADS, label_losses
from training.perplexity import measure_loss

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Any:
    return load_base(tiny_base, CPU, torch.float32)[0]


@pytest.fixture(scope="module")
def rows(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[data.Row, ...]:
    """Rows of very different length, so that a mean of means would be wrong."""
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    lines = [json.dumps({"prompt": "q" * size, "completion": "a" * size}) for size in (1, 40, 7, 90, 3)]
    file.write_text("\n".join(lines), encoding="utf-8")
    conversations = data.read_conversations(file)
    return data.encode(tokenizer, conversations, max_length=999, assistant_only_loss=True).rows


def by_full_logits(model: Any, rows: tuple[data.Row, ...]) -> tuple[float, int]:
    """The definition, row by row: the sum of -log p of every learned token."""
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row.ids])
            losses = functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
            learned = torch.tensor(row.learned[1:])
            total += float(losses[learned].double().sum())
            count += int(learned.sum())
    return total, count


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_loss_is_the_mean_over_tokens_for_every_batch_size(
    model: Any, rows: tuple[data.Row, ...], batch_size: int
) -> None:
    total, count = by_full_logits(model, rows)
    measured = measure_loss(model, rows, batch_size=batch_size, device=CPU)
    assert measured.tokens == count == sum(size + 1 for size in (1, 40, 7, 90, 3))
    assert measured.mean == pytest.approx(total / count, abs=1e-5)
    assert measured.perplexity == pytest.approx(torch.exp(torch.tensor(total / count)).item(), rel=1e-4)


def test_the_short_cut_around_the_head_gives_the_losses_and_gradients_of_full_logits(
    tiny_base: Path, rows: tuple[data.Row, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = data.collate(rows, CPU)
    results = []
    for heads in (PLAIN_HEADS, frozenset[str]()):
        monkeypatch.setattr("training.loss.PLAIN_HEADS", heads)
        monkeypatch.setattr("training.loss.CHUNK_TOKENS", 16)
        model = load_base(tiny_base, CPU, torch.float32)[0].requires_grad_(requires_grad=True)
        losses = label_losses(model, batch)
        losses.sum().backward()
        results.append((losses.detach(), model.model.layers[0].mlp.up_proj.weight.grad))
    torch.testing.assert_close(*(losses for losses, _ in results), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*(gradient for _, gradient in results), atol=1e-3, rtol=1e-4)


def test_measuring_leaves_the_mode_alone_and_can_be_cancelled(model: Any, rows: tuple[data.Row, ...]) -> None:
    asked: list[int] = []
    stop_at_second: Callable[[], bool] = lambda: bool(asked.append(1)) or len(asked) > 1  # noqa: E731
    model.train()
    with pytest.raises(Cancelled):
        measure_loss(model, rows, batch_size=1, device=CPU, should_stop=stop_at_second)
    assert len(asked) == 2
    assert model.training
    model.eval()
