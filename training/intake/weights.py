"""The tensors of an uploaded adapter: named, paired, shaped and finite, before any library loads them."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
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
_MAGNITUDE = re.compile(r"base_model\.model\.([A-Za-z0-9_.]+)\.lora_magnitude_vector")
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
    """The tensors of one layer. peft: A [r, in] and B [out, r]; mlx-lm: both the other way round."""

    layer: str
    a: StoredTensor
    b: StoredTensor
    transposed: bool
    magnitude: StoredTensor | None = None
    """Of DoRA: [out]."""

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

    @property
    def tensors(self) -> dict[str, StoredTensor]:
        """By what peft calls them behind the name of the layer."""
        halves = {"lora_A.weight": self.a, "lora_B.weight": self.b}
        return halves if self.magnitude is None else {**halves, "lora_magnitude_vector": self.magnitude}


def read_updates(file: Path, rank: int, *, from_mlx: bool, use_dora: bool = False) -> list[LayerUpdate]:
    """The updates of an adapter file, sorted by layer.

    Raises:
        IntakeError: a broken file, or a tensor that no plain LoRA (or DoRA, with ``use_dora``) of this rank has.
    """
    _require_safetensors(file)
    try:
        tensors = tensor_files.read_tensors(file, largest_header=_LARGEST_HEADER)
    except TensorFileError as error:
        raise IntakeError(error.message.replace(str(file), file.name)) from error
    if len(tensors) > MOST_TENSORS:
        raise IntakeError(f"{file.name} holds {len(tensors):,} tensors; {MOST_TENSORS:,} are possible")
    magnitudes = {match[1]: tensor for tensor in tensors if (match := _MAGNITUDE.fullmatch(tensor.name)) and use_dora}
    halves = [tensor for tensor in tensors if tensor not in magnitudes.values()]
    updates = _with_magnitudes(_paired(halves, from_mlx=from_mlx), magnitudes, use_dora=use_dora)
    for update in updates:
        if any(found != rank for found in update.ranks):
            raise IntakeError(
                f"the update of {shown(update.layer)} has the ranks {update.ranks[0]} and {update.ranks[1]}, and the "
                f"config says {rank}"
            )
        for tensor in update.tensors.values():
            _require_finite(tensor)
    return updates


def _with_magnitudes(
    updates: Sequence[LayerUpdate], magnitudes: Mapping[str, StoredTensor], *, use_dora: bool
) -> list[LayerUpdate]:
    """Each update with its magnitude: DoRA has one for every layer and every row of it, plain LoRA none."""
    if not use_dora:
        return list(updates)
    if strangers := sorted(magnitudes.keys() - {update.layer for update in updates}):
        raise IntakeError(f"of the update of {shown(strangers[0])} only its magnitude is there; A and B are missing")
    found = []
    for update in updates:
        magnitude = magnitudes.get(update.layer)
        if magnitude is None:
            raise IntakeError(f"the update of {shown(update.layer)} has no magnitude, and the config says use_dora")
        _require_floats(magnitude)
        if magnitude.shape != (update.shape[0],):
            raise IntakeError(
                f"{shown(magnitude.name)} has the shape {list(magnitude.shape)}; one number for each of the "
                f"{update.shape[0]} rows of its layer is needed"
            )
        found.append(dataclasses.replace(update, magnitude=magnitude))
    return found


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
        _require_floats(tensor)
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
        return f"{shown(name)} is a magnitude of DoRA, which belongs to a config of peft that says use_dora"
    if "lora_embedding" in name:
        return f"{shown(name)} changes an embedding; only linear layers can be changed here"
    if ".lora_" not in name:
        return f"{shown(name)} is no update of LoRA: it would overwrite weights of the base model"
    return f"{shown(name)} is no name that plain LoRA has (…layer.lora_A.weight and …layer.lora_B.weight)"


def _require_floats(tensor: StoredTensor) -> None:
    if tensor.dtype not in _EXPONENTS:
        raise IntakeError(f"{shown(tensor.name)} holds {tensor.dtype} numbers; F32, F16 and BF16 can be computed here")


def _require_finite(tensor: StoredTensor) -> None:
    numbers, exponent = _EXPONENTS[tensor.dtype]
    for chunk in tensor_files.chunks_of(tensor):
        bits = np.frombuffer(chunk, numbers)
        if ((bits & exponent) == exponent).any():
            raise IntakeError(f"{shown(tensor.name)} holds numbers that are infinite or not numbers (NaN)")
