"""Uploads as a test wants them: honest ones, and archives that no tool would write."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from training.intake.unpack import SentFile

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
LAYER = "model.layers.0.self_attn.q_proj"
LINK_MODE, PIPE_MODE = 0o120777, 0o010644


@dataclass(frozen=True)
class Honest:
    """The parts of an adapter that is fine."""

    config: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    def files(self, config: Mapping[str, Any] | None = None, tensors: Any = None) -> dict[str, bytes]:
        """Its two files, with fields of the config or tensors exchanged; a tensor of None is left out."""
        changed = {**self.tensors, **(tensors or {})}
        kept = {name: tensor.clone().contiguous() for name, tensor in changed.items() if tensor is not None}
        return {CONFIG: json.dumps({**self.config, **(config or {})}).encode(), WEIGHTS: save(kept)}


def honest(folder: Path) -> Honest:
    return Honest(json.loads((folder / CONFIG).read_text()), load_file(folder / WEIGHTS))


def zipped(content: Mapping[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zipped_with(content: Mapping[str, bytes], name: str, data: bytes, mode: int) -> bytes:
    """One more member with a Unix mode of its own."""
    buffer = io.BytesIO(zipped(content))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = mode << 16
        archive.writestr(info, data)
    return buffer.getvalue()


def tarred(content: Mapping[str, bytes], *more: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    """A packed tar; members without content stand at its beginning."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info in more:
            archive.addfile(info)
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def safetensors(header: Any, body: bytes = b"") -> bytes:
    """A safetensors file with any header, as bytes or to be written as JSON."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + body


def patched(content: bytes, signature: bytes, offset: int, value: bytes, *, last: bool = False) -> bytes:
    """Bytes overwritten at ``offset`` after the first (or last) signature."""
    at = (content.rfind(signature) if last else content.find(signature)) + offset
    return content[:at] + value + content[at + len(value) :]


def sent(folder: Path, content: bytes | Mapping[str, bytes], name: str) -> list[SentFile]:
    """As the web page keeps it: numbered files, and the names that the sender gave them."""
    folder.mkdir(parents=True)
    files = {name: content} if isinstance(content, bytes) else content
    kept = []
    for number, (told, data) in enumerate(files.items()):
        path = folder / str(number)
        path.write_bytes(data)
        kept.append(SentFile(told, path))
    return kept
