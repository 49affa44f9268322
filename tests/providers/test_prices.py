"""Prices of the pinned table: golden values, and what it does not know."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import ROOT
from app.domain.terms import ProviderKind
from app.providers.calls import Usage
from app.providers.prices import _CHECKED, dollars, price, price_table, worst_case

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CALL = Usage(
    input_tokens=1000, output_tokens=1000, cache_write_tokens=1000, cache_write_1h_tokens=1000, cache_read_tokens=1000
)
tokens = st.integers(0, 90_000)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)


def micro(model: str, usage: Usage, *, batch: bool = False) -> int:
    found = price(ProviderKind.ANTHROPIC, model, usage, NOW, batch=batch)
    assert found is not None
    return found.micro_dollars


@pytest.mark.parametrize(
    ("model", "direct", "batched"),
    [
        ("claude-opus-5-5", 4000 + 20_000 + 5000 + 8000 + 200, 18_600),
        ("claude-sonnet-5-5", 2000 + 10_000 + 2500 + 4000 + 100, 9300),
        ("claude-haiku-5-5", 100 + 500 + 125 + 200 + 10, 468),  # 467.5, rounded up
    ],
)
def test_each_kind_of_token_has_its_price_and_a_batch_costs_half(model: str, direct: int, batched: int) -> None:
    assert micro(model, CALL) == direct
    assert micro(model, CALL, batch=True) == batched


def test_a_long_request_to_the_cheap_model_costs_more_for_all_of_it() -> None:
    assert micro("claude-haiku-5-5", Usage(input_tokens=100_000)) == 10_000
    assert micro("claude-haiku-5-5", Usage(input_tokens=200_000)) == 100_000


def test_a_price_is_rounded_up_to_a_whole_micro_dollar() -> None:
    assert micro("claude-haiku-5-5", Usage(input_tokens=1)) == 1
    assert micro("claude-haiku-5-5", Usage()) == 0
    assert dollars(1_234_567) == Decimal("1.234567")


@pytest.mark.parametrize(
    ("kind", "model", "url"),
    [
        (ProviderKind.ANTHROPIC, "claude-nobody-9", ""),
        (ProviderKind.ANTHROPIC, "", ""),
        (ProviderKind.OPENAI_COMPATIBLE, "llama3", "http://127.0.0.1:11434/v1"),
        (ProviderKind.OPENAI_COMPATIBLE, "claude-opus-5-5", "http://127.0.0.1:11434/v1"),
    ],
)
def test_what_is_not_in_the_table_has_no_price(kind: ProviderKind, model: str, url: str) -> None:
    assert price(kind, model, CALL, NOW, base_url=url) is None


def test_another_provider_has_its_own_prices_by_its_address() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    found = price(ProviderKind.OPENAI_COMPATIBLE, "gpt-4o-mini", usage, NOW, base_url="https://api.openai.com/v1")
    assert found is not None
    assert found.micro_dollars == 750_000
    dearest = worst_case(1_000_000, 1_000_000)
    worst = price(ProviderKind.OPENAI_COMPATIBLE, "gpt-4o-mini", dearest, NOW, base_url="https://api.openai.com/v1")
    assert worst == found  # it has no price of its own for what is written to a cache


@given(usages, st.booleans())
def test_no_call_costs_more_than_its_worst_case(usage: Usage, batch: bool) -> None:
    worst = worst_case(usage.all_input_tokens, usage.output_tokens, batch=batch)
    if not batch:  # only batches keep a rubric for an hour
        usage = Usage(usage.input_tokens, usage.output_tokens, usage.cache_write_tokens, 0, usage.cache_read_tokens)
    assert micro("claude-haiku-5-5", usage, batch=batch) <= micro("claude-haiku-5-5", worst, batch=batch)


@given(usages, usages)
def test_more_tokens_never_cost_less(one: Usage, other: Usage) -> None:
    both = Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cache_write_tokens + other.cache_write_tokens,
        one.cache_write_1h_tokens + other.cache_write_1h_tokens,
        one.cache_read_tokens + other.cache_read_tokens,
    )
    assert micro("claude-opus-5-5", both) >= max(micro("claude-opus-5-5", one), micro("claude-opus-5-5", other))


def test_the_pinned_table_is_dated_and_is_the_one_in_force() -> None:
    pinned = re.search(r"^genai-prices==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] in _CHECKED, "a new table: note when its prices were looked up"
    table = price_table()
    assert table.label == f"genai-prices {table.version} ({table.checked or 'undated'})"
    found = price(ProviderKind.ANTHROPIC, "claude-opus-5-5", CALL, NOW)
    assert found is not None
    assert found.table == table
