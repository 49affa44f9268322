"""Adapters as llama.cpp reads them: read back with the gguf package, turned round again, and equal to the original."""

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from training.errors import PackError
from training.gguf_adapter import reorder, write_gguf
from training.lora import adapter_contents, read_adapter

HEADS, KEY_HEADS, SIZE, LAYERS = 4, 2, 8, 2
WIDTH = HEADS * SIZE
OF = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}  # fmt: skip
"""What llama.cpp calls the layers that "all-linear" adapts."""


def made(folder: Path, kind: str, **lora: Any) -> tuple[Path, Path]:
    """The config of a tiny model of this kind, and an adapter on every linear layer of it with random weights."""
    config = AutoConfig.for_model(
        kind, vocab_size=32, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, head_dim=SIZE,
    )  # fmt: skip
    torch.manual_seed(3)
    settings = LoraConfig(
        **({"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | lora)
    )
    model = get_peft_model(AutoModelForCausalLM.from_config(config), settings)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    tensors, adapter_config = adapter_contents(model, "tiny")
    base, adapter = folder / "base", folder / "adapter"
    config.save_pretrained(base)
    adapter.mkdir()
    own = {name: tensor.contiguous() for name, tensor in tensors.items() if ".lora_" in name}
    save_file(own, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(adapter_config))
    return base, adapter


def read(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    reader = gguf.GGUFReader(file)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


def back(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows in the order of transformers, of rows in the order of llama.cpp: written out, one row after the other."""
    size = rows.shape[0] // heads
    turned = np.empty_like(rows)
    for head in range(heads):
        for place in range(size):
            half, pair = divmod(place, size // 2)
            turned[head * size + place] = rows[head * size + 2 * pair + half]
    return turned


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("rooted", [False, True])
def test_every_update_is_the_one_that_was_trained(tmp_path: Path, kind: str, rooted: bool) -> None:
    base, adapter = made(tmp_path, kind, use_rslora=rooted)
    write_gguf(base, adapter, tmp_path / "adapter.gguf", name="my/adapter")
    fields, tensors = read(tmp_path / "adapter.gguf")
    assert fields["general.type"] == "adapter"
    assert fields["adapter.type"] == "lora"
    assert fields["general.architecture"] == {"mistral": "llama"}.get(kind, kind)
    assert fields["general.name"] == "my/adapter"
    pairs = read_adapter(adapter)
    assert len(tensors) == 2 * len(pairs) == 2 * LAYERS * len(OF)
    for layer, pair in pairs.items():
        *_, number, _, short = layer.split(".")
        called = f"blk.{number}.{OF[short]}.weight"
        a, b = tensors[f"{called}.lora_a"], tensors[f"{called}.lora_b"]
        heads = {"q_proj": HEADS, "k_proj": KEY_HEADS}.get(short)
        if heads and kind in ("llama", "mistral"):
            assert not np.array_equal(b, pair.b.numpy())
            b = back(b, heads)
        scale = fields["adapter.lora.alpha"] / b.shape[1]
        expected = pair.scale * (pair.b @ pair.a).numpy()
        np.testing.assert_allclose(scale * (b @ a), expected, rtol=1e-5, atol=1e-5)


def test_reordered_rows_turn_as_llama_cpp_turns_them() -> None:
    """The rotary embedding of neighbours on reordered rows is the one of halves on the original, reordered."""
    rows = torch.randn(HEADS * SIZE, generator=torch.Generator().manual_seed(1))
    angles = torch.arange(SIZE // 2) * 0.7 + 0.2
    cos, sin = (torch.cat([f(angles), f(angles)])[None, None] for f in (torch.cos, torch.sin))
    halves, _ = apply_rotary_pos_emb(rows.reshape(1, HEADS, 1, SIZE), rows.reshape(1, HEADS, 1, SIZE), cos, sin)
    neighbours = reorder(rows, HEADS).reshape(HEADS, SIZE // 2, 2)
    x, y = neighbours[..., 0], neighbours[..., 1]
    turned = torch.stack([x * angles.cos() - y * angles.sin(), x * angles.sin() + y * angles.cos()], dim=-1)
    torch.testing.assert_close(turned.reshape(-1), reorder(halves.reshape(-1), HEADS))


def changed(file: Path, **content: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | content))


def test_what_llama_cpp_has_no_place_for_is_refused(tmp_path: Path) -> None:
    base, adapter = made(tmp_path, "llama")
    file = tmp_path / "adapter.gguf"
    changed(base / "config.json", model_type="gpt_neox")
    with pytest.raises(
        PackError, match="adapters of gpt_neox models are not written as GGUF here, only those of llama"
    ):
        write_gguf(base, adapter, file, name="x")
    changed(base / "config.json", model_type="llama")
    changed(adapter / "adapter_config.json", use_dora=True)
    with pytest.raises(PackError, match=r"llama\.cpp has no DoRA"):
        write_gguf(base, adapter, file, name="x")
    assert not file.exists()


def test_the_head_of_a_base_with_tied_weights_is_refused(tmp_path: Path) -> None:
    base, adapter = made(tmp_path, "llama", target_modules=["lm_head", "v_proj"])
    write_gguf(base, adapter, tmp_path / "whole.gguf", name="x")
    assert "output.weight.lora_b" in read(tmp_path / "whole.gguf")[1]
    changed(base / "config.json", tie_word_embeddings=True)
    with pytest.raises(PackError, match=r"changes lm_head, which llama\.cpp has no adapter for"):
        write_gguf(base, adapter, tmp_path / "tied.gguf", name="x")
    shutil.rmtree(base)
    with pytest.raises(PackError, match="config of the base model"):
        write_gguf(base, adapter, tmp_path / "none.gguf", name="x")
