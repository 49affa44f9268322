"""What the bench of generation asks."""

from pathlib import Path

from app.config import DATA
from tests.fakes.tiny_model import write_conversations
from training.bench.generate import Task, prompts_of


def task(data: Path, prompts: int) -> Task:
    return Task(
        base=Path("base"), data=data, prompts=prompts, replicates=1, max_new_tokens=1, batch_size=4, device="cpu",
        dtype="float32",
    )  # fmt: skip


def test_all_prompts_of_a_suite_can_be_asked_conversations_among_them() -> None:
    asked = prompts_of(task(DATA / "suites/brie-comprehensive.jsonl", 57))
    assert len(asked) == 57
    assert {messages[-1]["role"] for messages in asked} == {"user"}
    assert max(map(len, asked)) > 1


def test_of_a_dataset_what_stands_before_the_first_answer_is_asked(tmp_path: Path) -> None:
    asked = prompts_of(task(write_conversations(tmp_path / "rows.jsonl", 5), 3))
    assert len(asked) == 3
    assert all(message["role"] != "assistant" for messages in asked for message in messages)
