"""Real judges' replies, recorded by others, are read as their studies published them."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from app.domain.published import llmbar_choice, mt_bench_choice
from app.domain.terms import Choice

PUBLISHED = {"A": Choice.A, "B": Choice.B, "tie": Choice.TIE, "error": None}
JUDGES = ("EXAONE-3.5-32B-Instruct-AWQ", "Qwen2.5-7B-Instruct", "gpt-4o-mini")


@pytest.mark.parametrize("judge", JUDGES)
def test_the_winners_of_mt_bench_judges_are_read_as_published(shared_data: Path, judge: str) -> None:
    rows = _lines(shared_data / f"mtbench_judges/pairwise/{judge}.jsonl.gz")
    read = [mt_bench_choice(row[f"judgment_{order}"]) for row in rows for order in ("ab", "ba")]
    assert len(read) == 2400
    assert read == [PUBLISHED[row[f"winner_{order}"]] for row in rows for order in ("ab", "ba")]


@pytest.mark.parametrize(("judge", "right"), [("GPT-4", (95, 96)), ("ChatGPT", (80, 83))])
def test_the_winners_of_llmbar_are_read_as_published(shared_data: Path, judge: str, right: tuple[int, int]) -> None:
    """``winner`` names the output (1 or 2); with the outputs exchanged, (a) is output 2."""
    with gzip.open(shared_data / f"llmbar_natural/{judge}/result.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    correct = [0, 0]
    for row in rows:
        for index, exchanged in enumerate(("swap = False", "swap = True")):
            result = row["results"][0][exchanged]
            first = (llmbar_choice(result["completion"][0]) is Choice.A) ^ bool(index)
            assert llmbar_choice(result["completion"][0]) is not None
            assert result["winner"] == ("1" if first else "2")
            correct[index] += result["winner"] == str(row["label"])
    assert (len(rows), *correct) == (100, *right)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Good. [[A]]", Choice.A),
        ("[[B]] because", Choice.B),
        ("[[C]]", Choice.TIE),
        ("I write [[A]] if A is better. Final verdict: [[B]]", Choice.B),
        ("[A] is better", None),
        ("[[D]] [[a]]", None),
        ("", None),
    ],
)
def test_the_last_mark_decides(reply: str, choice: Choice | None) -> None:
    assert mt_bench_choice(reply) is choice


@pytest.mark.parametrize(
    ("reply", "choice"), [("Output (a)", Choice.A), (" Output (b).", Choice.B), ("Output (a) or Output (b)", None)]
)
def test_an_llmbar_reply_is_the_name_of_an_output_and_nothing_more(reply: str, choice: Choice | None) -> None:
    assert llmbar_choice(reply) is choice


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
