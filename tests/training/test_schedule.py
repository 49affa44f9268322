"""How many steps a run has, which rows they see, and how fast they learn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import TrainSettings
from training.data import WIDTH_STEP, Row
from training.schedule import Window, learning_rate, step_count, windows


def rates(kind: str, total: int, warmup: float = 0.0) -> list[float]:
    settings = TrainSettings(learning_rate=1.0, lr_scheduler_type=kind, warmup_ratio=warmup)  # type: ignore[arg-type]
    return [learning_rate(settings, step, total) for step in range(1, total + 1)]


def test_known_values() -> None:
    assert rates("constant", 3) == [1, 1, 1]
    assert rates("linear", 4) == [1, 0.75, 0.5, 0.25]
    assert rates("cosine", 2) == pytest.approx([1, 0.5])
    assert rates("linear", 10, 0.2)[:4] == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8])


@given(kind=st.sampled_from(["linear", "cosine", "constant"]), total=st.integers(1, 200), warmup=st.floats(0, 0.9))
def test_it_rises_then_falls_and_every_step_learns(kind: str, total: int, warmup: float) -> None:
    values = rates(kind, total, warmup)
    peak = values.index(max(values))
    assert all(0 < value <= 1 for value in values)
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


@given(
    count=st.integers(1, 30),
    size=st.integers(1, 5),
    accumulation=st.integers(1, 4),
    epochs=st.integers(1, 3),
)
def test_by_epochs_every_row_is_seen_once_in_each(count: int, size: int, accumulation: int, epochs: int) -> None:
    settings = TrainSettings(
        num_train_epochs=epochs, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation
    )
    rows = [Row(line, (0, 0), (True, True)) for line in range(count)]
    steps = step_count(settings, count)
    made = list(windows(rows, settings, 3, steps))
    assert len(made) == steps
    for epoch in range(epochs):
        seen = [row.line for window in made if window.epoch == epoch for batch in window.batches for row in batch]
        assert sorted(seen) == list(range(count))
    assert [window.epoch_done for window in made if window.ends_epoch] == list(range(1, epochs + 1))


@given(count=st.integers(1, 9), steps=st.integers(1, 30))
def test_by_steps_the_file_is_gone_round_as_often_as_needed(count: int, steps: int) -> None:
    settings = TrainSettings(max_steps=steps, per_device_train_batch_size=2)
    rows = [Row(line, (0, 0), (True, True)) for line in range(count)]
    assert step_count(settings, count) == steps
    assert len(list(windows(rows, settings, 0, steps))) == steps


@given(
    lengths=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=4),
    rows_at_once=st.integers(0, 4),
    tokens_at_once=st.integers(0, 8 * WIDTH_STEP),
)
def test_a_window_cut_smaller_has_the_same_rows_within_the_limits(
    lengths: list[list[int]], rows_at_once: int, tokens_at_once: int
) -> None:
    batches = tuple(tuple(Row(one, (0,) * one, (True,) * one) for one in batch) for batch in lengths)
    cut = Window(0, batches, ends_epoch=True, epoch_done=1.0).cut(rows_at_once, tokens_at_once)
    assert [row for batch in cut.batches for row in batch] == [row for batch in batches for row in batch]
    for batch in cut.batches:
        assert not rows_at_once or len(batch) <= rows_at_once
        assert not tokens_at_once or len(batch) == 1 or len(batch) * WIDTH_STEP <= tokens_at_once
    if not rows_at_once and not tokens_at_once:
        assert cut.batches == batches


def test_a_pass_is_filled_before_the_next_begins_and_padding_counts() -> None:
    batch = tuple(Row(one, (0,) * one, (True,) * one) for one in (2, 30, 32, 33, 200))
    cut = Window(0, (batch,), ends_epoch=True, epoch_done=1.0).cut(0, 3 * WIDTH_STEP)
    assert [[row.line for row in piece] for piece in cut.batches] == [[2, 30, 32], [33], [200]]
