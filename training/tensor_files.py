"""Safetensors files read by hand: what they hold, and a hash of it that depends on nothing else.

The header is parsed here, and not by a library, so that a broken or hostile file ends in one clear sentence
and so that hashing streams through files of any size without torch.
"""

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from training.errors import TensorFileError

MAX_HEADER_BYTES = 100_000_000
MOST_DIMENSIONS = 8
LARGEST_NUMBER = 1 << 62
"""Of a shape or an offset: a product of endless numbers would take as long as the file that holds them likes."""
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


@dataclass(frozen=True, slots=True)
class Written:
    """A tensor to be written under ``name``, from where it lies; ``transposed`` turns a matrix round."""

    name: str
    source: StoredTensor
    transposed: bool = False


def read_tensors(file: Path, *, largest_header: int = MAX_HEADER_BYTES) -> list[StoredTensor]:
    """The tensors of one safetensors file, in the order of their bytes. ``largest_header`` in bytes.

    Raises:
        TensorFileError: missing file, unreadable header, a name that is there twice, or offsets that do not
            cover the file exactly.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            header, data_start = _read_header(stream, size, file, largest_header)
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
        for chunk in chunks_of(tensor):
            digest.update(chunk)
    return digest.hexdigest()


def write_tensors(file: Path, tensors: Iterable[Written]) -> None:
    """Write a safetensors file, sorted by name, without metadata; one tensor at a time is in memory.

    Raises:
        TensorFileError: a source became shorter since it was read.
        OSError: the disk is full.
    """
    ordered = sorted(tensors, key=lambda one: one.name)
    header: dict[str, Any] = {}
    position = 0
    for tensor in ordered:
        source = tensor.source
        stop = position + source.stop - source.start
        shape = source.shape[::-1] if tensor.transposed else source.shape
        header[tensor.name] = {"dtype": source.dtype, "shape": list(shape), "data_offsets": [position, stop]}
        position = stop
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    with file.open("xb") as stream:
        stream.write(struct.pack("<Q", len(content)) + content)
        for tensor in ordered:
            if tensor.transposed:
                stream.write(_turned(tensor.source))
            else:
                stream.writelines(chunks_of(tensor.source))
        stream.flush()
        os.fsync(stream.fileno())


def _turned(tensor: StoredTensor) -> bytes:
    """A matrix the other way round; only whole elements move, so their format does not matter."""
    elements = np.frombuffer(b"".join(chunks_of(tensor)), f"V{ITEM_BYTES[tensor.dtype]}")
    return elements.reshape(tensor.shape).T.tobytes()


def hash_file(file: Path) -> str:
    """Sha256 (hex) of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_header(stream: BinaryIO, size: int, file: Path, largest: int) -> tuple[dict[str, Any], int]:
    first = stream.read(8)
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else largest + 1  # noqa: PLR2004
    if length > min(largest, size - 8):
        raise TensorFileError(f"{file} is not a safetensors file, or only the beginning of one")
    try:
        header = json.loads(stream.read(length), object_pairs_hook=_once)
    except _RepeatedError as error:
        raise TensorFileError(f"{file} is broken: its header names {error} twice") from error
    except (ValueError, RecursionError) as error:
        raise TensorFileError(f"{file} is not a safetensors file: its header is not JSON") from error
    if not isinstance(header, dict):
        raise TensorFileError(f"{file} is not a safetensors file: its header is not an object")
    header.pop("__metadata__", None)
    return header, 8 + length


class _RepeatedError(ValueError):
    """A JSON object has one key twice, and readers differ in which they take."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedError(key[:80])
        found[key] = value
    return found


def _tensor(name: str, entry: Any, file: Path, data_start: int) -> StoredTensor:
    start, stop = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{name} has {len(shape)} dimensions")
    if not all(type(number) is int and 0 <= number < LARGEST_NUMBER for number in (*shape, start, stop)):
        raise ValueError(f"{name} has a shape or an offset that is no whole number")
    tensor = StoredTensor(name, entry["dtype"], shape, file, data_start + start, data_start + stop)
    if tensor.count * ITEM_BYTES[tensor.dtype] != stop - start:
        raise ValueError(f"the bytes of {name} do not fit its shape")
    return tensor


def chunks_of(tensor: StoredTensor) -> Iterator[bytes]:
    """The bytes of a tensor, piece by piece; every piece is a whole number of elements."""
    remaining = tensor.stop - tensor.start
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start)
        while remaining:
            chunk = stream.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise TensorFileError(f"{tensor.file} became shorter while it was read")
            remaining -= len(chunk)
            yield chunk
