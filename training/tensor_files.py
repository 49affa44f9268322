"""Safetensors files read by hand: what they hold, and a hash of it that depends on nothing else.

The header is parsed here, and not by a library, so that a broken or hostile file ends in one clear sentence
and so that hashing streams through files of any size without torch.
"""

import hashlib
import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from training.errors import TensorFileError

MAX_HEADER_BYTES = 100_000_000
CHUNK_BYTES = 1 << 22
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies. ``start`` and ``stop`` are byte positions in ``file``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    stop: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_tensors(file: Path) -> list[StoredTensor]:
    """The tensors of one safetensors file, in the order of their bytes.

    Raises:
        TensorFileError: missing file, unreadable header, or offsets that do not cover the file exactly.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            header, data_start = _read_header(stream, size, file)
    except OSError as error:
        raise TensorFileError(f"{file} cannot be read: {error.strerror}") from error
    try:
        tensors = [_tensor(name, entry, file, data_start) for name, entry in header.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise TensorFileError(f"{file} has a broken header: {error}") from error
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    position = data_start
    for tensor in tensors:
        if tensor.start != position:
            raise TensorFileError(f"{file} is broken: the bytes of {tensor.name} do not follow the ones before")
        position = tensor.stop
    if position != size:
        raise TensorFileError(f"{file} is broken: its header promises {position} bytes and it has {size}")
    return tensors


def hash_tensors(files: Iterable[Path]) -> str:
    """Sha256 (hex) over (name, dtype, shape, bytes) of all tensors, sorted by name.

    How tensors are spread over files, file names, links, padding and metadata do not matter.

    Raises:
        TensorFileError: a file is broken, or two files hold a tensor of the same name.
    """
    tensors = sorted((tensor for file in files for tensor in read_tensors(file)), key=lambda one: one.name)
    digest = hashlib.sha256()
    for index, tensor in enumerate(tensors):
        if index and tensors[index - 1].name == tensor.name:
            raise TensorFileError(f"{tensor.file} repeats the tensor {tensor.name} of another file")
        digest.update(json.dumps([tensor.name, tensor.dtype, list(tensor.shape)]).encode() + b"\n")
        _update(digest, tensor)
    return digest.hexdigest()


def hash_file(file: Path) -> str:
    """Sha256 (hex) of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_header(stream: BinaryIO, size: int, file: Path) -> tuple[dict[str, Any], int]:
    first = stream.read(8)
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else MAX_HEADER_BYTES + 1  # noqa: PLR2004
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise TensorFileError(f"{file} is not a safetensors file, or only the beginning of one")
    try:
        header = json.loads(stream.read(length))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TensorFileError(f"{file} is not a safetensors file: its header is not JSON") from error
    if not isinstance(header, dict):
        raise TensorFileError(f"{file} is not a safetensors file: its header is not an object")
    header.pop("__metadata__", None)
    return header, 8 + length


def _tensor(name: str, entry: Any, file: Path, data_start: int) -> StoredTensor:
    start, stop = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(number) is int and number >= 0 for number in (*shape, start, stop)):
        raise ValueError(f"{name} has a shape or an offset that is no whole number")
    tensor = StoredTensor(name, entry["dtype"], shape, file, data_start + start, data_start + stop)
    if tensor.count * ITEM_BYTES[tensor.dtype] != stop - start:
        raise ValueError(f"the bytes of {name} do not fit its shape")
    return tensor


def _update(digest: "hashlib._Hash", tensor: StoredTensor) -> None:
    remaining = tensor.stop - tensor.start
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start)
        while remaining:
            chunk = stream.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise TensorFileError(f"{tensor.file} became shorter while it was read")
            digest.update(chunk)
            remaining -= len(chunk)
