"""Real data of published studies: what their authors counted is what the report says after an import."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db import Database
from app.queries.report import report
from tests.fixtures import on_sqlite
from tests.imported import exported, gathered, mismatches, store

pytestmark = on_sqlite

Told = dict[str, Any]


def take(database: Database, format_name: str, name: str, *paths: Path, verified: bool = True) -> tuple[Told, Any]:
    """Import, verify, and read the report."""
    found = gathered(format_name, *paths)
    batch_id = store(database, found, name)
    if verified:
        assert mismatches(database, batch_id) == []
    with database.session_scope(write=False) as session:
        return report(session, batch_id), (batch_id, found.log)


def lines(text: str, kind: str) -> Iterator[Told]:
    return (line for line in map(json.loads, text.split("\n")[:-1]) if line["type"] == kind)


def test_three_annotators_of_pandalm_agree_as_published(database: Database, shared_data: Path) -> None:
    """Wang et al. 2023, table 2: kappa of each two annotators; and the labels of each."""
    folder = shared_data / "pandalm"
    told, (batch_id, log) = take(
        database, "pandalm", "pandalm", folder / "testset-v1.json", folder / "gpt-3.5-turbo-testset-v1.json",
        folder / "pandalm-7b-testset-v1.json",
    )  # fmt: skip
    assert (told["batch"]["pairs"], told["batch"]["votes"], told["batch"]["settled_pairs"]) == (999, 2997, 0)
    assert log.refused == 0
    assert sum("true, not a text" in problem.sentence for problem in log.problems) == 6
    between = {frozenset((row["one"], row["other"])): row for row in told["agreement"]}
    for one, other, kappa in ((1, 2, 0.8520), (1, 3, 0.8789), (2, 3, 0.8617)):
        row = between[frozenset((f"annotator{one}", f"annotator{other}"))]
        assert (row["n"], round(row["kappa"], 4)) == (999, kappa)
        assert row["kappa_fixed"][0] < row["kappa"] < row["kappa_fixed"][1]
    assert (told["panel"]["units"], told["panel"]["votes"]) == (999, 2997)
    assert round(told["panel"]["alpha"], 5) == 0.86422
    chosen: dict[str, list[str]] = defaultdict(list)
    for line in lines(exported(database, batch_id), "verdict"):
        if line["kind"] == "rater":
            chosen[f"{line['prompt']}/{line['replicate']}/{sorted((line['a'], line['b']))}"].append(line["choice"])
    labels = Counter(max(sorted(of_pair), key=of_pair.count) for of_pair in chosen.values())
    assert [labels[choice] for choice in ("tie", "a", "b")] == [105, 422, 472]
    (people,) = (row for row in told["agreement"] if (row["one"], row["other"]) == ("people", "people"))
    assert people["n"] == 999
    cards = {card["judge"]: card for card in told["judges"]}
    assert cards["gpt"]["unparsed"]["n"] == 25  # "garbage" is no tie
    assert (cards["pandalm"]["judged"], cards["gpt"]["judged"]) == (999, 974)


@pytest.mark.parametrize(
    ("judge", "inconsistent", "valid", "first"),
    [
        ("Qwen2.5-7B-Instruct", 951, 1200, "0.8806"),
        ("EXAONE-3.5-32B-Instruct-AWQ", 506, 1200, "0.6802"),
        ("gpt-4o-mini", 399, 1193, "0.6053"),
    ],
)
def test_judges_of_mt_bench_prefer_the_first_place_as_published(
    database: Database, shared_data: Path, judge: str, inconsistent: int, valid: int, first: str
) -> None:
    folder = shared_data / "mtbench_judges"
    told, _ = take(
        database, "mt-bench", "judges", folder / "questions.jsonl", *sorted((folder / "answers").iterdir()),
        folder / f"pairwise/{judge}.jsonl.gz",
    )  # fmt: skip
    (card,) = told["judges"]
    bias = card["position_bias"]
    assert (card["judge"], card["judged"], bias["n"]) == (judge, valid, valid)
    assert bias["f"] + bias["s"] + bias["mixed"] == inconsistent
    assert f"{bias['first_rate']:.4f}" == first


@pytest.mark.parametrize("judge", ["GPT-4", "ChatGPT"])
def test_evaluators_of_llmbar_are_as_right_as_published(database: Database, shared_data: Path, judge: str) -> None:
    folder = shared_data / "llmbar_natural"
    told, _ = take(database, "llmbar", "natural", folder / "dataset.json", folder / judge / "result.json.gz")
    published = json.loads((folder / judge / "statistics.json").read_text(encoding="utf-8"))
    (card,) = told["judges"]
    (with_label,) = (row for row in told["agreement"] if row["other"] == "people")
    both = sum(with_label["table"][outcome][outcome] for outcome in ("first", "second"))
    once = sum(with_label["table"]["tie"].values())  # right in one order, wrong in the other
    assert with_label["n"] == 100
    assert f"{both:.0f} / 100 = {both:.1f}%" == published["correct_both"]
    assert f"{both + once / 2:.1f}%" == published["correct_average"]
    assert f"{card['position_bias']['consistency']:.1%}" in published["equal"]


def test_the_crowd_of_llmfao_with_empty_texts_and_html(database: Database, shared_data: Path) -> None:
    folder = shared_data / "llmfao"
    files = ("crowd-comparisons.csv", "gpt3-crowd-comparisons.csv", "gpt4-crowd-comparisons.csv", "models.jsonl",
             "pairs-crowd.jsonl", "pairs-crowd-training.jsonl", "prompts.jsonl")  # fmt: skip
    told, (batch_id, log) = take(database, "llmfao", "llmfao", *(folder / name for name in files), verified=False)
    batch = told["batch"]
    assert (batch["pairs"], batch["votes"], batch["settled_pairs"]) == (2139, 8931, 0)
    assert len({batch["baseline"], *batch["challengers"]}) == 59
    assert {card["judge"]: card["judged"] for card in told["judges"]} == {"gpt3": 2139, "gpt4": 2139}
    assert log.refused == 0
    written = exported(database, batch_id)
    crowd = [line for line in lines(written, "verdict") if line["kind"] == "rater"]
    assert len({line["voter"] for line in crowd}) == 124
    counted = [sum(line["choice"] == choice for line in crowd) for choice in ("a", "b", "tie")]
    assert counted == [2911, 2549, 3471]  # left, right, tie
    texts = {(line["prompt"], line["checkpoint"]): line["text"] for line in lines(written, "response")}
    empty = [
        line for line in lines(written, "pair")
        if not (texts[line["prompt"], line["a"]].strip() and texts[line["prompt"], line["b"]].strip())
    ]  # fmt: skip
    assert len(empty) == 289


@pytest.mark.parametrize("name", ["food", "simple"])
def test_the_rankings_of_evalica(database: Database, shared_data: Path, name: str) -> None:
    """Counting, and the mean over opponents of the share of wins, from the matchups of the report."""
    told, _ = take(database, "plain", name, shared_data / f"evalica/{name}.csv")
    wins: dict[str, float] = defaultdict(float)
    rates: dict[str, list[float]] = defaultdict(list)
    for matchup in told["matchups"]:
        cell = matchup["raters"]["all"]
        challenger = cell["wins"] + cell["ties"] / 2
        for who, score in ((matchup["challenger"], challenger), (matchup["baseline"], cell["n"] - challenger)):
            wins[who.removeprefix(f"{name}/")] += score
            rates[who.removeprefix(f"{name}/")].append(score / cell["n"])
    with (shared_data / f"evalica/{name}-golden.csv").open(encoding="utf-8") as file:
        golden = [row for row in csv.DictReader(file) if row["item"]]
    counting = {row["item"]: float(row["score"]) for row in golden if row["algorithm"] == "counting"}
    average = {row["item"]: float(row["score"]) for row in golden if row["algorithm"] == "average_win_rate"}
    assert wins == pytest.approx(counting)
    assert {who: sum(of) / len(of) for who, of in rates.items()} == pytest.approx(average)


def test_responses_of_a_real_run_that_loop_or_are_empty(database: Database, shared_data: Path) -> None:
    """Two checkpoints of a LoRA run on 750 prompts: nothing judged yet."""
    told, (batch_id, log) = take(
        database, "arena-hard", "steps", *sorted((shared_data / "checkpoints_arena_hard").glob("*.jsonl")),
        verified=False,
    )  # fmt: skip
    assert (told["batch"]["pairs"], told["batch"]["votes"], told["batch"]["settled_pairs"]) == (750, 0, 0)
    assert sum("is empty" in problem.sentence for problem in log.problems) == 328 + 204
    texts = [line["text"] for line in lines(exported(database, batch_id), "response")]
    assert max(map(len, texts)) == 24_713
    assert len(texts) == 1500
