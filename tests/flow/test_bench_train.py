"""The bench of training on a tiny model: not how fast, but that everybody trains the same rows and is told."""

import json
from pathlib import Path

import pytest

from app.bench.told import train_sentence
from app.bench.train import Contestant, TrainMeasured
from tests.command_line import Command
from tests.fakes.tiny_model import make_tiny_model, write_conversations


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    base = make_tiny_model(tmp_path / "tiny")
    data = write_conversations(tmp_path / "rows.jsonl", 16)
    return ["--base", str(base), "--data", str(data), "--rows", "8", "--batch-size", "2", "--repeats", "1", "--device",
            "cpu", "--max-length", "128"]  # fmt: skip


def test_everybody_trains_and_is_told(command: Command, options: list[str]) -> None:
    said = command("bench", "train", *options, "--json")
    assert (said.code, said.err) == (0, "")
    told = json.loads(said.out)
    assert [one["name"] for one in told["contestants"]] == ["ours", "trl", "trl-packed"]
    assert told["contestants"][0]["speed_of_ours"] == 1
    losses = [one["first_loss"] for one in told["contestants"]]
    assert all(3 < loss < 8 for loss in losses)  # nobody has learned anything yet
    assert told["better_peer"] in ("trl", "trl-packed")
    assert told["holds"] is True
    assert told["ceiling_tokens_per_second"] > 0


def test_who_cannot_train_is_named(command: Command, options: list[str]) -> None:
    said = command("bench", "train", *options, "--device", "no-such-device")
    assert said.code == 1
    assert "matmul could not be measured, so nothing was." in said.err
    assert "no-such-device" in said.err


def test_ratios_are_taken_against_the_better_setting_of_the_peer() -> None:
    found = TrainMeasured(
        (
            Contestant("ours", 150.0, 3_000, 3.0, 2.5, 1.0),
            Contestant("trl", 90.0, 5_000, 3.0, 2.5, 0.6),
            Contestant("trl-packed", 100.0, 6_000, 3.0, 2.5, 0.625),
            Contestant("trl-shipped", 5.0, 2_000, 3.0, 2.5, 0.03),
        ),
        repeats=3, flops=1.7e11, ceiling=300.0,
    )  # fmt: skip
    assert found.better_peer.name == "trl-packed"
    assert (found.speed_ratio, found.memory_ratio, found.share_of_ceiling) == (1.6, 0.5, 0.5)
    assert "1.60 times the tokens a second of TRL at its better setting, 0.50 times its memory" in train_sentence(found)
