"""An adapter merged into its base: a full model of its own, written file by file and compared with what it came from.

Weights that no adapter changes keep their bytes where the number format stays. The others are added up in float32
and rounded once.
"""

import gc
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training import base, tensor_files
from training.effect import PROBES, next_token_logits
from training.errors import AdapterError, PackError, TensorFileError
from training.lora import LoraPair, read_adapter
from training.masked_lora import MaskedLora

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCE = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2}
"""How far next-token logits of the merged model may be from those of base and adapter, computed in float32, as a share
of the largest logit. What is above float32 is the rounding of every weight to 11 or 8 bits."""
COPIED = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "LICENSE", "LICENSE.txt", "NOTICE",
)  # fmt: skip
"""Files of a base model that go along as they are, where they are there."""

Step = Callable[[int, int, str], None]
"""Told how far the work is: done, of how many, what happens now. What it raises stops the work."""


def merge(
    base_folder: Path, adapter_folder: Path, target: Path, number_format: str, *, device: str, step: Step
) -> float:
    """Write base and adapter as one model into the empty folder ``target``; returns how far its logits are off.

    The figure is the largest difference of a next-token logit on the probes, as a share of the largest logit.

    Raises:
        AdapterError, BaseModelError: one of the two cannot be read, or they do not fit.
        PackError: the base is quantised, a weight leaves the range of the number format, or what was written does not
            say what base and adapter say.
        OSError: the disk is full.
    """
    if number_format not in FORMATS:
        raise PackError(f"there is no number format {number_format} here; choose {', '.join(FORMATS)}")
    pairs = read_adapter(adapter_folder)
    files = base.weight_files(base_folder)
    _check_fit(files, pairs)
    config = _config(base_folder, number_format)
    steps = len(files) + 2
    step(0, steps, "Asking base and adapter")
    expected = _logits(base_folder, pairs, device)
    shards: dict[str, str] = {}
    for number, file in enumerate(files, start=1):
        step(number, steps, f"Merging file {number} of {len(files)}")
        name = "model.safetensors" if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        tensors = dict(_merged(file, pairs, FORMATS[number_format]))
        save_file(tensors, target / name, metadata={"format": "pt"})
        shards |= dict.fromkeys(tensors, name)
        del tensors
    if len(files) > 1:
        size = sum(file.stat().st_size for file in target.glob("*.safetensors"))
        _write_json(target / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": shards})
    _write_json(target / "config.json", config)
    for name in COPIED:
        if (base_folder / name).is_file():
            shutil.copyfile(base_folder / name, target / name)
    step(steps - 1, steps, "Asking the merged model the same")
    return _compare(expected, _logits(target, {}, device), number_format)


def size_when_merged(base_folder: Path, number_format: str) -> int:
    """Bytes of the weights that ``merge`` would write, about.

    Raises:
        BaseModelError, TensorFileError: the base cannot be read.
    """
    each = FORMATS[number_format].itemsize if number_format in FORMATS else 4
    files = base.weight_files(base_folder)
    return sum(tensor.count * each for file in files for tensor in tensor_files.read_tensors(file))


def _check_fit(files: list[Path], pairs: Mapping[str, LoraPair]) -> None:
    """Before anything is written: every layer that the adapter changes has a weight of its own in the files."""
    try:
        shapes = {tensor.name: tensor.shape for file in files for tensor in tensor_files.read_tensors(file)}
    except TensorFileError as error:
        raise PackError(f"the base model is broken: {error.message}") from error
    for layer, pair in pairs.items():
        shape = shapes.get(f"{layer}.weight")
        if shape is None:
            raise PackError(
                f"the adapter changes {layer}, of which the base model has no weight of its own: it shares it with "
                "another layer or keeps it under another name, so they cannot be merged. Export the adapter instead"
            )
        if shape != (pair.b.shape[0], pair.a.shape[1]):
            raise AdapterError(f"the adapter does not fit this base model: the shape of {layer} differs")


def _config(folder: Path, number_format: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if content.get("quantization_config"):
        raise PackError("the base model is quantised, and nothing can be added to such weights; export the adapter")
    # The second is what readers older than transformers 5 look for.
    return content | {"dtype": number_format, "torch_dtype": number_format}


def _merged(file: Path, pairs: Mapping[str, LoraPair], wanted: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one file with the updates added, each in the wanted format."""
    try:
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 (no mapping)
                tensor = stored.get_tensor(name)
                pair = pairs.get(name.removesuffix(".weight"))
                if pair is not None:
                    tensor = pair.merged(tensor)
                if tensor.is_floating_point():
                    tensor = tensor.to(wanted)
                    if not bool(tensor.isfinite().all()):
                        raise PackError(f"{name} does not fit into {wanted}; choose float32 or bfloat16")
                yield name, tensor.contiguous()
    except (OSError, SafetensorError) as error:
        raise PackError(f"{file} cannot be read ({error}); fetch the base model again") from error


def _logits(folder: Path, pairs: Mapping[str, LoraPair], device: str) -> torch.Tensor:
    """Next-token logits [probes, vocabulary] of a model, with an adapter or without, in float32 whatever is stored."""
    model, tokenizer = base.load_base(folder, base.pick_device(device), torch.float32)
    stack = MaskedLora(model, {"adapter": pairs})
    try:
        with stack.rows(["adapter"]):
            return next_token_logits(model, tokenizer, PROBES)
    finally:
        del model, stack
        gc.collect()  # two models at once would be one too many for the memory


def _compare(expected: torch.Tensor, found: torch.Tensor, number_format: str) -> float:
    off = float((expected - found).abs().max() / expected.abs().max())
    if not off <= TOLERANCE[number_format]:  # NaN as well
        raise PackError(
            f"the merged model does not say what base and adapter say: a logit differs by {off:.1e} of the largest, "
            f"and {TOLERANCE[number_format]:.0e} is allowed in {number_format}. Nothing was kept; export the adapter"
        )
    return off


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
