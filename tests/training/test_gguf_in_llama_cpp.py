"""An adapter that is written as GGUF does in llama.cpp what it does here."""

from pathlib import Path
from typing import Any

import pytest
import torch

from training import base, lora
from training.config import LoraSettings
from training.fetch import fetch_gguf
from training.gguf_adapter import write_gguf
from training.lora import read_adapter
from training.masked_lora import MaskedLora

CPU = torch.device("cpu")
TEXTS = ("What is courage? I think it", "The old philosopher walked into the garden and", "Why do people fear death?")
TOLD = 10
"""Tokens of which llama.cpp is asked how likely it finds them."""


@pytest.fixture(scope="module")
def adapter(real_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random, on every linear layer: q and k, whose rows llama.cpp has in another order, among them."""
    torch.manual_seed(4)
    model, _ = base.load_base(real_base, CPU, torch.float32)
    model = lora.attach_lora(model, LoraSettings(r=8, lora_alpha=16))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


def of_llama_cpp(xllamacpp: Any, model: Path, adapter: Path | None) -> list[dict[int, float]]:
    """Log-probabilities of the likeliest next tokens of every text."""
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_parallel, settings.n_ctx, settings.n_gpu_layers = str(model), 1, 256, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    if adapter is not None:
        used = xllamacpp.CommonAdapterLoraInfo()
        used.path, used.scale = str(adapter), 1.0
        settings.lora_adapters = [used]
    server = xllamacpp.Server(settings)
    found = []
    for text in TEXTS:
        said = server.handle_completions({"prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": TOLD})
        told = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found.append({one["id"]: one["logprob"] for one in told})
    return found


def test_llama_cpp_finds_as_likely_what_we_do(real_base: Path, adapter: Path, tmp_path: Path) -> None:
    xllamacpp = pytest.importorskip("xllamacpp", reason="No wheel of llama.cpp for this system.")
    write_gguf(real_base, adapter, tmp_path / "adapter.gguf", name="random")
    theirs = of_llama_cpp(xllamacpp, fetch_gguf(tmp_path / "gguf"), tmp_path / "adapter.gguf")
    model, tokenizer = base.load_base(real_base, CPU, torch.float32)
    stack = MaskedLora(model, {"random": read_adapter(adapter)})
    off, moved = [], []
    for text, told in zip(TEXTS, theirs, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]] * 4)
        with torch.no_grad(), stack.rows(["random", None, None, None]):
            adapted, bare, *_ = model(ids).logits[:, -1].log_softmax(-1)
        for token, logprob in told.items():
            off.append(abs(logprob - float(adapted[token])))
            moved.append(abs(float(bare[token]) - float(adapted[token])))
    # llama.cpp computes in the four bits of its file, and rounds what goes in to eight.
    assert sum(off) < 0.25 * sum(moved)
