"""The tensors of an uploaded adapter: named, paired, shaped and finite, before any library loads them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training import tensor_files
from training.errors import IntakeError, TensorFileError
from training.intake.members import shown
from training.tensor_files import StoredTensor

MOST_TENSORS = 8_192
_LARGEST_HEADER = 4_000_000
_EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000), "F64": ("<u8", 0x7FF << 52)}
"""The bits of the exponent: all of them set means infinite or not a number."""
_PEFT = re.compile(r"base_model\.model\.([A-Za-z0-9_.]+)\.lora_([AB])\.weight")
_MLX = re.compile(r"([A-Za-z0-9_.]+)\.lora_([ab])")
_OTHER_ADAPTER = re.compile(r"[A-Za-z0-9_.]+\.lora_[AB]\.([^.]+)\.weight")
_FILE_KINDS = {
    b"PK\x03\x04": "a PyTorch pickle or another zip file under another name",
    b"\x80": "a pickle under another name",
    b"version https://git-lfs": "a pointer of Git LFS, not the weights; fetch them with git lfs pull",
    b"GGUF": "a GGUF file under another name",
}


@dataclass(frozen=True, slots=True)
class LayerUpdate:
    """The two tensors of one layer. peft: A [r, in] and B [out, r]; mlx-lm: both the other way round."""

    layer: str
    a: StoredTensor
    b: StoredTensor
    transposed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """[out, in] of the linear layer that this fits."""
        if self.transposed:
            return self.b.shape[1], self.a.shape[0]
        return self.b.shape[0], self.a.shape[1]

    @property
    def ranks(self) -> tuple[int, int]:
        """The rank according to A and according to B."""
        if self.transposed:
            return self.a.shape[1], self.b.shape[0]
        return self.a.shape[0], self.b.shape[1]


def read_updates(file: Path, rank: int, *, from_mlx: bool) -> list[LayerUpdate]:
    """The updates of an adapter file, sorted by layer.

    Raises:
        IntakeError: a broken file, or a tensor that no plain LoRA of this rank has.
    """
    _require_safetensors(file)
    try:
        tensors = tensor_files.read_tensors(file, largest_header=_LARGEST_HEADER)
    except TensorFileError as error:
        raise IntakeError(error.message.replace(str(file), file.name)) from error
    if len(tensors) > MOST_TENSORS:
        raise IntakeError(f"{file.name} holds {len(tensors):,} tensors; {MOST_TENSORS:,} are possible")
    updates = _paired(tensors, from_mlx=from_mlx)
    for update in updates:
        if any(found != rank for found in update.ranks):
            raise IntakeError(
                f"the update of {shown(update.layer)} has the ranks {update.ranks[0]} and {update.ranks[1]}, and the "
                f"config says {rank}"
            )
        for tensor in (update.a, update.b):
            _require_finite(tensor)
    return updates


def _require_safetensors(file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(32)
    for magic, what in _FILE_KINDS.items():
        if start.startswith(magic) and (len(magic) > 1 or start[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}):
            raise IntakeError(f"{file.name} is {what}")


def _paired(tensors: Sequence[StoredTensor], *, from_mlx: bool) -> list[LayerUpdate]:
    halves: dict[str, dict[str, StoredTensor]] = {}
    for tensor in tensors:
        match = (_MLX if from_mlx else _PEFT).fullmatch(tensor.name)
        if match is None:
            raise IntakeError(_stranger(tensor.name))
        if tensor.dtype not in _EXPONENTS:
            raise IntakeError(
                f"{shown(tensor.name)} holds {tensor.dtype} numbers; F32, F16 and BF16 can be computed here"
            )
        if len(tensor.shape) != 2 or not tensor.count:  # noqa: PLR2004
            raise IntakeError(f"{shown(tensor.name)} has the shape {list(tensor.shape)}; a matrix is needed")
        halves.setdefault(match[1], {})[match[2].lower()] = tensor
    if not halves:
        raise IntakeError("the adapter holds no tensor, so it changes no layer")
    for layer, pair in halves.items():
        if len(pair) != 2:  # noqa: PLR2004
            there = next(iter(pair.values())).name
            raise IntakeError(
                f"of the update of {shown(layer)} only {shown(there)} is there; its other half is missing"
            )
    return [LayerUpdate(layer, pair["a"], pair["b"], from_mlx) for layer, pair in sorted(halves.items())]


def _stranger(name: str) -> str:
    """Why a tensor of this name is refused."""
    other = _OTHER_ADAPTER.fullmatch(name)
    if other is not None:
        return f"{shown(name)} belongs to an adapter called {shown(other[1])}; it could overwrite another checkpoint"
    if "lora_magnitude_vector" in name or name.endswith(".m"):
        return f"{shown(name)} is a magnitude of DoRA, which is not computed when responses are generated"
    if "lora_embedding" in name:
        return f"{shown(name)} changes an embedding; only linear layers can be changed here"
    if ".lora_" not in name:
        return f"{shown(name)} is no update of LoRA: it would overwrite weights of the base model"
    return f"{shown(name)} is no name that plain LoRA has (…layer.lora_A.weight and …layer.lora_B.weight)"


def _require_finite(tensor: StoredTensor) -> None:
    numbers, exponent = _EXPONENTS[tensor.dtype]
    for chunk in tensor_files.chunks_of(tensor):
        bits = np.frombuffer(chunk, numbers)
        if ((bits & exponent) == exponent).any():
            raise IntakeError(f"{shown(tensor.name)} holds numbers that are infinite or not numbers (NaN)")
