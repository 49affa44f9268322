"""Base and adapters measured on the same rows from one base in memory."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests.tiny_arena import Tiny, make_tiny
from training import measure
from training.base import load_base
from training.checkpoint import read_manifest
from training.data import Encoded
from training.errors import DataError
from training.measure import LossMeter
from training.perplexity import MeasuredLoss, RowLoss, measure_loss

CPU = torch.device("cpu")


def mean_loss(measured: Sequence[RowLoss]) -> MeasuredLoss:
    tokens = sum(row.tokens for row in measured)
    return MeasuredLoss(math.fsum(row.total for row in measured) / tokens, tokens)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def meter(tiny: Tiny) -> LossMeter:
    return LossMeter(tiny.base, {"cheese": tiny.adapter}, device="cpu")


@pytest.fixture
def encoded(meter: LossMeter, tiny: Tiny) -> Encoded:
    return meter.read(tiny.train_file, 999)


def test_the_adapter_fits_as_peft_computes_it_and_the_base_fits_less(meter: LossMeter, tiny: Tiny) -> None:
    rows = meter.read(tiny.validation_file, 999).rows
    model, _ = load_base(tiny.base, CPU, torch.float32)
    oracle = measure_loss(PeftModel.from_pretrained(model, tiny.adapter), rows, batch_size=1, device=CPU)
    own = mean_loss(meter.measure("cheese", rows))
    assert own.tokens == oracle.tokens
    assert own.mean == pytest.approx(oracle.mean, rel=1e-6)
    assert own.mean == pytest.approx(
        read_manifest(tiny.adapter).facts.validation_loss, rel=5e-3
    )  # it may have computed in bfloat16
    assert mean_loss(meter.measure(None, rows)).mean > own.mean


@pytest.mark.parametrize("adapter", [None, "cheese"])
def test_the_loss_of_each_row_does_not_depend_on_how_many_are_measured_at_a_time(
    meter: LossMeter, encoded: Encoded, adapter: str | None
) -> None:
    found = []
    for size in (1, 3, 8):
        meter._batch_rows = size
        found.append([row.total for row in meter.measure(adapter, encoded.rows)])
    for others in found[1:]:
        assert others == pytest.approx(found[0], rel=1e-6)


def test_rows_come_by_line_and_each_is_told(meter: LossMeter, encoded: Encoded) -> None:
    told: list[int] = []
    rows = meter.measure(None, encoded.rows, on_row=told.append)
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert told == [1, 2, 3, 4]
    assert [row.tokens for row in rows] == [row.label_count for row in encoded.rows]


def test_where_memory_runs_out_it_begins_again_with_fewer_rows(
    meter: LossMeter, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, asked = meter.measure("cheese", encoded.rows), list[int]()
    measure_rows = measure.measure_rows

    def small(*arguments: Any, batch_size: int, **more: Any) -> Any:
        asked.append(batch_size)
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return measure_rows(*arguments, batch_size=batch_size, **more)

    monkeypatch.setattr(measure, "measure_rows", small)
    again = meter.measure("cheese", encoded.rows)
    assert asked == [8, 4, 2]
    assert [row.total for row in again] == pytest.approx([row.total for row in whole], rel=1e-6)


def test_rows_that_are_too_long_are_counted(meter: LossMeter, encoded: Encoded, tiny: Tiny) -> None:
    longest = max(len(row.ids) for row in encoded.rows)
    assert len(meter.read(tiny.train_file, longest - 1).skipped_lines) >= 1
    with pytest.raises(DataError, match="every row is longer"):
        meter.read(tiny.train_file, 8)


def test_the_device_and_the_number_format_are_told(meter: LossMeter) -> None:
    assert (meter.device, meter.dtype) == ("cpu", "float32")


def test_where_float32_is_too_large_the_device_decides(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
        if dtype is torch.float32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return load_base(folder, device, dtype)

    monkeypatch.setattr(measure.base, "load_base", load)
    monkeypatch.setattr(measure.base, "pick_dtype", lambda _: torch.bfloat16)
    assert LossMeter(tiny.base, {}, device="cpu").dtype == "bfloat16"


def test_a_file_that_is_not_there_is_named(meter: LossMeter, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        meter.read(tmp_path / "gone.jsonl", 99)
