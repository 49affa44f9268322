"""An adapter as GGUF, for llama.cpp and what is built on it.

llama.cpp computes W x + alpha / r * B A x, with A of shape [r, in] and B of shape [out, r] under the name of the weight
that they change: ``blk.0.attn_q.weight.lora_a`` and ``.lora_b``. Its Llama weights have the rows of each attention head
of q and k in another order than those of transformers (its rotary embedding turns neighbours, theirs turns halves), so
the rows of B move along.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.constants import GGUFType, Keys

from training.errors import PackError
from training.fingerprint import fingerprint_adapter, read_adapter_config
from training.lora import LoraPair, read_adapter

ARCHITECTURES = {
    "llama": (gguf.MODEL_ARCH.LLAMA, True),
    "mistral": (gguf.MODEL_ARCH.LLAMA, True),
    "qwen2": (gguf.MODEL_ARCH.QWEN2, False),
    "qwen3": (gguf.MODEL_ARCH.QWEN3, False),
}
"""By the model type of a base's config: its name in GGUF, and whether the rows of q and k are reordered there."""


def write_gguf(base_folder: Path, adapter_folder: Path, file: Path, *, name: str) -> None:
    """Write the adapter under ``file``; ``name`` is for people who look into it.

    Raises:
        AdapterError: the adapter cannot be read.
        PackError: llama.cpp has no place for it: another architecture, DoRA, or a layer that it does not know.
        OSError: the disk is full.
    """
    if read_adapter_config(adapter_folder).get("use_dora"):
        raise PackError("llama.cpp has no DoRA, so this adapter cannot be written as GGUF; export the merged model")
    config = _config(base_folder)
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        raise PackError(
            f"adapters of {kind} models are not written as GGUF here, only those of {', '.join(ARCHITECTURES)}; export "
            "the adapter or the merged model instead"
        )
    architecture, reordered = ARCHITECTURES[kind]
    pairs = read_adapter(adapter_folder)
    names = gguf.get_tensor_name_map(architecture, int(config["num_hidden_layers"]))
    alpha = _alpha(next(iter(pairs.values())))
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string(Keys.Adapter.TYPE, "lora")
    writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_name(name)
    writer.add_description(f"LoRA adapter with the fingerprint {fingerprint_adapter(adapter_folder)}")
    for layer, pair in sorted(pairs.items()):
        known = names.get_name(layer)
        if known is None or (layer == "lm_head" and config.get("tie_word_embeddings")):
            raise PackError(f"the adapter changes {layer}, which llama.cpp has no adapter for; export the merged model")
        # llama.cpp has one alpha for all layers; where a layer's differs, B takes the difference.
        b = pair.b.float() * (_alpha(pair) / alpha)
        heads = _heads(layer, config) if reordered else 0
        writer.add_tensor(f"{known}.weight.lora_a", _array(pair.a.float()))
        writer.add_tensor(f"{known}.weight.lora_b", _array(reorder(b, heads) if heads else b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def reorder(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of q or k, [heads * size, ...], from halves (0, 1, …) to neighbours (0, size/2, 1, size/2 + 1, …)."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, 2, size // 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def _heads(layer: str, config: dict[str, Any]) -> int:
    """How many heads a layer's rows are; 0 for one whose rows stay as they are."""
    heads = int(config["num_attention_heads"])
    if layer.endswith(".q_proj"):
        return heads
    return int(config.get("num_key_value_heads") or heads) if layer.endswith(".k_proj") else 0


def _alpha(pair: LoraPair) -> float:
    """What llama.cpp divides by the rank to get the scale."""
    return pair.scale * pair.a.shape[0]


def _array(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(tensor.numpy(), dtype=np.float32)


def _config(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"the config of the base model in {folder} cannot be read; fetch it again") from error
    return content
