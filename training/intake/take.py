"""The intake of one upload, step by step: unpack, read, choose the base model, store our own copy."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training import tensor_files
from training.checkpoint import write_file
from training.errors import IntakeError
from training.fingerprint import fingerprint_adapter
from training.intake import settings
from training.intake.bases import ToldBase
from training.intake.members import CONFIG, WEIGHTS
from training.intake.settings import AdapterSettings
from training.intake.unpack import SentFile, unpack
from training.intake.weights import LayerUpdate, read_updates


@dataclass(frozen=True, slots=True)
class Adapter:
    """An upload that was read and found to be plain LoRA or DoRA; its tensors still lie where it was unpacked."""

    settings: AdapterSettings
    updates: Sequence[LayerUpdate]
    told: ToldBase
    from_mlx: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """Our own copy of an upload."""

    folder: Path
    fingerprint: str
    size_bytes: int


def read_upload(sent: Sequence[SentFile], scratch: Path) -> Adapter:
    """Unpack an upload into ``scratch``, which must be new, and read it.

    Raises:
        IntakeError: it is neither a plain LoRA adapter nor a DoRA, or it is an attack; says what is wrong.
        CheckpointWriteError: the disk is full.
    """
    files = unpack(sent, scratch)
    config = settings.read_object(files.config)
    found = settings.read_mlx_settings(config) if files.from_mlx else settings.read_settings(config)
    told_hash = _told_hash(files.manifest) if files.manifest else ""
    return Adapter(
        settings=found,
        updates=read_updates(files.weights, found.r, from_mlx=files.from_mlx, use_dora=found.use_dora),
        told=ToldBase(found.told_base, told_hash),
        from_mlx=files.from_mlx,
    )


def store_copy(adapter: Adapter, base_name: str, target: Path) -> Stored:
    """Write the adapter anew in PEFT layout; ``target`` appears only when it is complete.

    Raises:
        AdapterError: what was written cannot be read back.
    """
    partial = target.parent / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        config = adapter.settings.as_config((update.layer for update in adapter.updates), base_name)
        write_file(partial / CONFIG, json.dumps(config, indent=2, sort_keys=True).encode())
        tensors = [
            tensor_files.Written(f"base_model.model.{update.layer}.{name}", tensor, update.transposed)
            for update in adapter.updates
            for name, tensor in update.tensors.items()
        ]
        tensor_files.write_tensors(partial / WEIGHTS, tensors)
        fingerprint = fingerprint_adapter(partial)
        size = sum(file.stat().st_size for file in partial.iterdir())
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Stored(target, fingerprint, size)


def _told_hash(manifest: Path) -> str:
    """Hash of the base model's weights in the manifest that an arena wrote beside its checkpoint."""
    try:
        told = settings.read_object(manifest)["facts"]["base"]["weights"]
    except (KeyError, TypeError) as error:
        raise IntakeError(f"{manifest.name} is not one that an arena wrote; leave it out") from error
    if not isinstance(told, str) or len(told) != 64 or not set(told) <= set("0123456789abcdef"):  # noqa: PLR2004
        raise IntakeError(f"{manifest.name} does not tell the hash of a base model; leave it out")
    return told
