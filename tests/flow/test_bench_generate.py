"""The bench of generation on a tiny model: not how fast, but that everybody answers everything and is told."""

import json
import signal
from pathlib import Path

import pytest

from app.bench.generation import GenerationMeasured, Writer
from app.bench.told import generation_sentence
from tests.command_line import Command
from tests.fakes.tiny_model import make_tiny_model, write_conversations
from tests.processes import PATIENCE_SECONDS, OwnArena, wait_for


def test_everybody_answers_and_is_told(command: Command, tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "tiny")
    data = write_conversations(tmp_path / "rows.jsonl", 4)
    said = command(
        "bench", "generate", "--base", base, "--data", data, "--prompts", 4, "--replicates", 2, "--max-new-tokens", 12,
        "--batch-size", 8, "--repeats", 1, "--device", "cpu", "--json",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    told = json.loads(said.out)
    assert [one["name"] for one in told["contestants"]] == ["ours", "hf, 8 rows", "peft-mixed"]
    assert {one["responses"] for one in told["contestants"]} == {4 * 2 * 4}
    assert all(0 < one["tokens"] <= 32 * 12 for one in told["contestants"])
    assert told["contestants"][0]["speed_of_ours"] == 1
    assert told["against_llama_cpp"] is None  # it has a file of the built-in model only
    assert told["share_of_bandwidth_limit"] == pytest.approx(
        told["contestants"][0]["tokens_per_second"] / told["bandwidth_limit_tokens_per_second"], abs=1e-3
    )
    assert told["holds"] is True


def test_a_bench_that_is_ended_leaves_nobody_at_work(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "tiny")
    data = write_conversations(tmp_path / "rows.jsonl", 4)
    (folder := tmp_path / "temporary").mkdir()
    arena = OwnArena.at(tmp_path / "home")
    arena.environment["TMPDIR"] = str(folder)
    asked = ("--base", str(base), "--data", str(data), "--repeats", "99", "--device", "cpu")
    with arena.running("bench", "generate", *asked) as process:
        wait_for(lambda: bool(arena.processes("training.bench.generate")), "the first contestant")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        assert arena.processes() == []
    assert list(folder.iterdir()) == []


def writer(name: str, speed: float, *, responses: int = 32) -> Writer:
    return Writer(name, speed, 1_000, responses, 400, 3, speed / 300)


def test_ratios_are_taken_against_the_best_of_each_peer() -> None:
    found = GenerationMeasured(
        (writer("ours", 300), writer("hf, 8 rows", 60), writer("hf, 32 rows", 150), writer("peft-mixed", 100)),
        repeats=3,
        bandwidth_limit=1200,
    )
    assert found.best_one_by_one.name == "hf, 32 rows"
    assert (found.against_one_by_one, found.against_mixed) == (pytest.approx(2), pytest.approx(3))
    assert found.holds
    said = generation_sentence(found)
    assert "2.00 times the tokens a second of transformers at its best batch size (hf, 32 rows)" in said
    assert "llama.cpp was not measured" in said
    assert "would allow 1200 tokens a second, of which this is 25%" in said


def test_llama_cpp_stands_beside_where_it_was_measured() -> None:
    found = GenerationMeasured(
        (writer("ours", 300), writer("hf, 8 rows", 60), writer("peft-mixed", 100), writer("llama.cpp", 200)),
        repeats=1,
        bandwidth_limit=1200,
    )
    assert found.as_json()["against_llama_cpp"] == pytest.approx(1.5)
    assert "1.50 times those of llama.cpp" in generation_sentence(found)


def test_who_left_something_out_is_seen() -> None:
    found = GenerationMeasured(
        (writer("ours", 300), writer("hf, 8 rows", 60, responses=31), writer("peft-mixed", 100)),
        repeats=1,
        bandwidth_limit=1200,
    )
    assert not found.holds
