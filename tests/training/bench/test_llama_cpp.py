"""llama.cpp answers what the bench of generation asks, where its package is installed."""

import shutil
from pathlib import Path

import pytest

from tests.fakes.tiny_model import write_conversations
from training.bench.generate import ADAPTERS, Task, llama_cpp


def test_llama_cpp_answers_every_prompt_as_often_as_everybody_else(real_base: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="No wheel of llama.cpp for this system.")
    base = tmp_path / "base"
    shutil.copytree(real_base, base)
    task = Task(
        base=base, data=write_conversations(tmp_path / "rows.jsonl", 2), prompts=2, replicates=1, max_new_tokens=3,
        batch_size=4, device="cpu", dtype="float32",
    )  # fmt: skip
    found = llama_cpp(task)
    assert found.responses == task.prompts * (1 + len(ADAPTERS))
    assert 0 < found.tokens <= found.responses * task.max_new_tokens
    assert (tmp_path / "gguf" / "model.gguf").is_file()
