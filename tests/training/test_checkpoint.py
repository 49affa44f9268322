"""A checkpoint is whole or not there, and says so when it is no longer what was registered."""

import errno
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from training import checkpoint
from training.base import BaseHashes, load_base
from training.checkpoint import CheckpointFacts, read_manifest, verify_checkpoint, write_checkpoint
from training.errors import AdapterError, CheckpointWriteError
from training.fingerprint import fingerprint_adapter

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TENSORS = {
    "base_model.model.layer.lora_A.weight": torch.ones(2, 3),
    "base_model.model.layer.lora_B.weight": torch.ones(3, 2),
}
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
FACTS = CheckpointFacts(
    run="run",
    name="epoch-1",
    step=3,
    epoch=1.0,
    train_loss=1.5,
    validation_loss=1.25,
    base=BaseHashes("w", "t", "c"),
    recipe={"name": "run"},
    datasets={"train": "a", "validation": "b"},
    effect={"passed": True},
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    manifest = write_checkpoint(tmp_path / "epoch-1", TENSORS, CONFIG, FACTS, NOW)
    assert read_manifest(tmp_path / "epoch-1") == manifest
    assert manifest.facts == FACTS
    assert manifest.created_at == NOW
    assert set(manifest.versions) == {"python", "torch", "transformers", "peft"}
    assert manifest.fingerprint == fingerprint_adapter(tmp_path / "epoch-1")
    assert sorted(file.name for file in (tmp_path / "epoch-1").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    ]


def test_the_manifest_is_written_last_and_the_folder_appears_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    original = checkpoint.write_file

    def record(file: Path, content: bytes) -> None:
        assert not (tmp_path / "epoch-1").exists()
        written.append(file.name)
        original(file, content)

    monkeypatch.setattr(checkpoint, "write_file", record)
    write_checkpoint(tmp_path / "epoch-1", TENSORS, CONFIG, FACTS, NOW)
    assert written[-1] == "manifest.json"
    assert (tmp_path / "epoch-1").is_dir()


@pytest.mark.parametrize("fails_at", ["adapter_model.safetensors", "manifest.json"])
def test_a_full_disk_leaves_nothing_half_written_and_earlier_checkpoints_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    before = write_checkpoint(tmp_path / "epoch-1", TENSORS, CONFIG, FACTS, NOW)
    original = checkpoint.write_file

    def full(file: Path, content: bytes) -> None:
        if file.name == fails_at:
            file.write_bytes(content[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        original(file, content)

    monkeypatch.setattr(checkpoint, "write_file", full)
    with pytest.raises(CheckpointWriteError, match=r"the disk is full.*earlier checkpoints are untouched"):
        write_checkpoint(tmp_path / "epoch-2", TENSORS, CONFIG, FACTS, NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-1"]
    assert read_manifest(tmp_path / "epoch-1") == before


def test_a_place_that_is_taken_or_cannot_be_made_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "epoch-1", TENSORS, CONFIG, FACTS, NOW)
    other = {name: tensor + 1 for name, tensor in TENSORS.items()}
    with pytest.raises(CheckpointWriteError, match="exists already and holds something else"):
        write_checkpoint(tmp_path / "epoch-1", other, CONFIG, FACTS, NOW)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointWriteError, match="could not be written"):
        write_checkpoint(tmp_path / "file" / "epoch-1", TENSORS, CONFIG, FACTS, NOW)


def test_the_same_weights_written_again_are_the_checkpoint_that_is_there(tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path / "epoch-1", TENSORS, CONFIG, FACTS, NOW)
    assert write_checkpoint(tmp_path / "epoch-1", TENSORS, CONFIG, FACTS, NOW + timedelta(days=1)) == first
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-1"]
    assert read_manifest(tmp_path / "epoch-1") == first


def test_what_a_killed_writer_left_behind_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / ".epoch-1.partial").mkdir()
    (tmp_path / ".epoch-1.partial" / "other.safetensors").write_bytes(b"half")
    write_checkpoint(tmp_path / "epoch-1", TENSORS, CONFIG, FACTS, NOW)
    verify_checkpoint(tmp_path / "epoch-1", read_manifest(tmp_path / "epoch-1").fingerprint)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-1"]


def test_swapped_weights_are_noticed_and_both_fingerprints_named(adapters: dict[str, Path], tmp_path: Path) -> None:
    wide, narrow = (Path(shutil.copytree(adapters[name], tmp_path / name)) for name in ("wide", "narrow"))
    registered = read_manifest(wide).fingerprint
    current = tmp_path / "current"
    current.symlink_to(wide)
    verify_checkpoint(current, registered)
    current.unlink()
    current.symlink_to(narrow)
    with pytest.raises(AdapterError, match="weights changed since it was registered") as caught:
        verify_checkpoint(current, registered)
    assert registered in caught.value.message
    assert read_manifest(narrow).fingerprint in caught.value.message


@pytest.mark.parametrize("content", [None, "{", "{}", '{"format": 1, "facts": {}}'])
def test_a_missing_or_broken_manifest_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(AdapterError, match="not a complete checkpoint"):
        read_manifest(tmp_path)


def test_peft_loads_a_checkpoint_of_ours(tiny_base: Path, adapters: dict[str, Path]) -> None:
    model: Any = load_base(tiny_base, torch.device("cpu"), torch.float32)[0]
    loaded = PeftModel.from_pretrained(model, adapters["wide"])
    assert loaded.peft_config["default"].r == 4
    config = json.loads((adapters["wide"] / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
