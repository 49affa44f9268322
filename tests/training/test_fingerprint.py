"""A fingerprint follows the function a checkpoint computes, not its place or its packing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.fakes.tiny_model import make_tiny_model
from training.base import hash_base
from training.errors import AdapterError
from training.fingerprint import fingerprint_adapter


@pytest.fixture
def adapter(adapters: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapters["wide"], tmp_path / "adapter"))


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes), encoding="utf-8")


def test_it_survives_renaming_links_and_saving_again(adapter: Path, tmp_path: Path) -> None:
    before = fingerprint_adapter(adapter)
    moved = adapter.rename(tmp_path / "elsewhere")
    assert fingerprint_adapter(moved) == before

    weights = moved / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file(dict(reversed(tensors.items())), weights, metadata={"written": "again"})
    assert fingerprint_adapter(moved) == before

    weights.rename(moved / "weights.safetensors")
    assert fingerprint_adapter(moved) == before

    link = tmp_path / "link"
    link.symlink_to(moved)
    assert fingerprint_adapter(link) == before


def test_it_ignores_what_does_not_change_the_function(adapter: Path) -> None:
    before = fingerprint_adapter(adapter)
    edit_config(adapter, base_model_name_or_path="/somewhere/else", inference_mode=False, lora_dropout=0.5)
    edit_config(adapter, use_dora=None, lora_alpha=8.0)
    assert fingerprint_adapter(adapter) == before


@pytest.mark.parametrize("change", [{"lora_alpha": 9}, {"use_rslora": True}, {"use_dora": True}])
def test_it_changes_with_the_scale(adapter: Path, change: dict[str, Any]) -> None:
    before = fingerprint_adapter(adapter)
    edit_config(adapter, **change)
    assert fingerprint_adapter(adapter) != before


def test_it_changes_with_one_weight(adapter: Path) -> None:
    before = fingerprint_adapter(adapter)
    weights = adapter / "adapter_model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values()))[0, 0] += 1e-4
    save_file(tensors, weights)
    assert fingerprint_adapter(adapter) != before


def test_it_changes_with_a_name(adapter: Path) -> None:
    before = fingerprint_adapter(adapter)
    weights = adapter / "adapter_model.safetensors"
    tensors = {name.replace("layers.0", "layers.7"): tensor for name, tensor in load_file(weights).items()}
    save_file(tensors, weights)
    assert fingerprint_adapter(adapter) != before


def test_a_folder_that_is_no_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"adapter_config\.json is missing"):
        fingerprint_adapter(tmp_path / "nothing")
    shutil.copy(adapter / "adapter_model.safetensors", adapter / "other.safetensors")
    (adapter / "adapter_model.safetensors").rename(adapter / "another.safetensors")
    with pytest.raises(AdapterError, match="several weight files"):
        fingerprint_adapter(adapter)


def test_a_cut_off_file_is_refused(adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(AdapterError, match="its header promises"):
        fingerprint_adapter(adapter)


def test_base_hashes_are_the_same_for_the_same_model_and_differ_for_another(tiny_base: Path, tmp_path: Path) -> None:
    hashes = hash_base(tiny_base)
    assert hash_base(make_tiny_model(tmp_path / "again")) == hashes
    other = hash_base(make_tiny_model(tmp_path / "other", seed=1))
    assert other.weights != hashes.weights
    assert (other.tokenizer, other.chat_template) == (hashes.tokenizer, hashes.chat_template)


def test_base_hashes_follow_template_and_tokenizer_but_not_sharding(tiny_base: Path, tmp_path: Path) -> None:
    before = hash_base(tiny_base)
    folder = Path(shutil.copytree(tiny_base, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "model.safetensors").unlink()
    assert hash_base(folder) == before

    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " ", encoding="utf-8")
    changed = hash_base(folder)
    assert changed.chat_template != before.chat_template
    assert (changed.weights, changed.tokenizer) == (before.weights, before.tokenizer)
