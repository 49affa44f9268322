"""Loading a base model: the right number format, every end token, and one clear sentence when it is broken."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from training import base
from training.errors import BaseModelError

CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"avx2", "avx512f"}, torch.float32),
        ({"avx512_bf16"}, torch.bfloat16),
        ({"amx_bf16"}, torch.bfloat16),
        (set(), torch.float32),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_where_it_does_so_natively(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(base, "_cpu_flags", lambda: flags)
    assert base.pick_dtype(CPU) == dtype
    assert base.pick_dtype(CPU, "float32") == torch.float32


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_a_cuda_card_computes_in_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert base.pick_dtype(torch.device("cuda")) == dtype


def test_unknown_devices_and_formats_are_refused() -> None:
    assert base.pick_device("cpu") == CPU
    with pytest.raises(BaseModelError, match='"toaster" cannot be used'):
        base.pick_device("toaster")
    with pytest.raises(BaseModelError, match='no number format "int3"'):
        base.pick_dtype(CPU, "int3")


def test_auto_prefers_cuda_then_mps_then_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
        assert base.pick_device().type == expected


def test_every_end_token_is_found(tiny_base: Path) -> None:
    model, tokenizer = base.load_base(tiny_base, CPU, torch.float32)
    im_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    end_of_text = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert base.end_tokens(model, tokenizer) == [im_end]
    # A chat model whose config and tokenizer only know the end of the text: the template closes turns otherwise.
    silent = SimpleNamespace(
        config=SimpleNamespace(eos_token_id=None), generation_config=SimpleNamespace(eos_token_id=[end_of_text])
    )
    tokenizer.eos_token = "<|endoftext|>"
    assert base.end_tokens(silent, tokenizer) == sorted([end_of_text, im_end])


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes), encoding="utf-8")


def test_missing_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="there is no base model in"):
        base.load_base(tmp_path / "absent", CPU, torch.float32)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(BaseModelError, match="no safetensors weights; other formats are not accepted"):
        base.load_base(tmp_path, CPU, torch.float32)


def test_a_cut_off_weight_file_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        base.load_base(folder, CPU, torch.float32)
    with pytest.raises(BaseModelError, match="broken"):
        base.hash_base(folder)


def test_weights_that_are_missing_are_not_filled_in_at_random(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BaseModelError, match=r"it lacks model\.layers\.1\.mlp\.up_proj\.weight"):
        base.load_base(folder, CPU, torch.float32)


def test_code_in_the_folder_is_never_run(folder: Path) -> None:
    edit(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.M"})
    witness = folder / "witness"
    (folder / "own.py").write_text(f"open({str(witness)!r}, 'w')\n", encoding="utf-8")
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        base.load_base(folder, CPU, torch.float32)
    assert not witness.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 3}'])
def test_a_broken_index_is_refused(folder: Path, content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content, encoding="utf-8")
    with pytest.raises(BaseModelError, match="cannot be read; fetch the base model again"):
        base.hash_base(folder)


def test_a_missing_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BaseModelError, match="holds no tokenizer"):
        base.hash_base(folder)
    with pytest.raises(BaseModelError, match="tokenizer"):
        base.load_tokenizer(folder)
