"""Safetensors headers read by hand: what is whole is read, what is not is refused in one sentence."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from training.errors import TensorFileError
from training.tensor_files import hash_tensors, read_tensors


def write(file: Path, header: Any, body: bytes = b"") -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(content)) + content + body)
    return file


def entry(start: int, stop: int, shape: tuple[int, ...] = (2,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_tensors_are_found_where_the_library_wrote_them(tmp_path: Path) -> None:
    file = tmp_path / "ours.safetensors"
    save_file({"b": torch.ones(2, 3), "a": torch.zeros(4, dtype=torch.int64)}, file)
    found = {tensor.name: (tensor.dtype, tensor.shape, tensor.count) for tensor in read_tensors(file)}
    assert found == {"a": ("I64", (4,), 4), "b": ("F32", (2, 3), 6)}


@pytest.mark.parametrize(
    ("header", "body", "reason"),
    [
        (b"not json", b"", "its header is not JSON"),
        ([1], b"", "its header is not an object"),
        ({"a": entry(0, 8)}, b"1234", "promises"),
        ({"a": entry(0, 8)}, b"123456789", "promises"),
        ({"a": entry(4, 12)}, b"x" * 12, "do not follow"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, b"x" * 12, "do not follow"),
        ({"a": entry(0, 8, (3,))}, b"x" * 8, "do not fit its shape"),
        ({"a": entry(0, 8, (-2,))}, b"x" * 8, "no whole number"),
        ({"a": entry(0, 8, dtype="PICKLE")}, b"x" * 8, "broken header"),
        ({"a": 3}, b"", "broken header"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, header: Any, body: bytes, reason: str) -> None:
    file = write(tmp_path / "broken.safetensors", header, body)
    with pytest.raises(TensorFileError, match=reason) as caught:
        read_tensors(file)
    assert "broken.safetensors" in caught.value.message


def test_a_header_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.safetensors"
    file.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(TensorFileError, match="only the beginning of one"):
        read_tensors(file)
    file.write_bytes(b"12")
    with pytest.raises(TensorFileError, match="only the beginning of one"):
        read_tensors(file)


def test_the_same_name_in_two_files_is_refused(tmp_path: Path) -> None:
    files = [write(tmp_path / name, {"a": entry(0, 8)}, b"x" * 8) for name in ("1", "2")]
    with pytest.raises(TensorFileError, match="repeats the tensor a"):
        hash_tensors(files)
