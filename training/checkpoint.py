"""Checkpoint folders: an adapter in PEFT layout and a manifest that is written last.

A checkpoint appears whole or not at all: it is written into a hidden folder beside its place, flushed to the
disk and renamed. Safetensors and JSON only.
"""

import dataclasses
import errno
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from training.base import BaseHashes
from training.errors import AdapterError, CheckpointWriteError
from training.fingerprint import fingerprint_adapter

MANIFEST = "manifest.json"
FORMAT = 1
LIBRARIES = ("torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """Where a checkpoint comes from and how far it got."""

    run: str
    """Name of the run."""
    name: str
    """Name within the run: "epoch-2", "step-10"."""
    step: int
    """Optimizer steps taken."""
    epoch: float
    """Passes over the training file, fractions included."""
    train_loss: float
    """Training loss in nats per learned token, mean of the steps since the checkpoint before."""
    validation_loss: float | None
    """Exact validation loss in nats per token; None where it was not measured (a cancelled run)."""
    base: BaseHashes
    """What the adapter sits on."""
    recipe: Mapping[str, Any]
    """The recipe as a dict."""
    datasets: Mapping[str, str]
    """Sha256 (hex) of the training and the validation file."""
    effect: Mapping[str, Any]
    """The effect gate's figures."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says."""

    format: int
    fingerprint: str
    facts: CheckpointFacts
    versions: Mapping[str, str]
    created_at: datetime


def write_checkpoint(
    target: Path,
    tensors: Mapping[str, torch.Tensor],
    adapter_config: Mapping[str, Any],
    facts: CheckpointFacts,
    created_at: datetime,
) -> Manifest:
    """Write a checkpoint folder; it appears under ``target`` only when it is complete.

    A complete checkpoint with the same weights that is there already, as after a run that was broken off behind it,
    stays as it is and is the one that is returned.

    Raises:
        CheckpointWriteError: the disk is full or cannot be written, or ``target`` holds something else. Nothing
            half-written remains and earlier checkpoints are untouched.
    """
    partial = target.parent / f".{target.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        config = json.dumps(adapter_config, indent=2, sort_keys=True).encode()
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        write_file(partial / "adapter_model.safetensors", save(contiguous, metadata={"format": "pt"}))
        write_file(partial / "adapter_config.json", config)
        versions = {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
        manifest = Manifest(FORMAT, fingerprint_adapter(partial), facts, versions, created_at)
        content = dataclasses.asdict(manifest) | {"created_at": created_at.isoformat()}
        if target.exists():
            return _same(target, manifest)
        write_file(partial / MANIFEST, json.dumps(content, indent=2).encode())
        flush_folder(partial)
        partial.rename(target)
        flush_folder(target.parent)
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror or error)
        raise CheckpointWriteError(
            f"the checkpoint {target.name} could not be written ({what}); earlier checkpoints are untouched: "
            "free some space and start the run again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _same(target: Path, written: Manifest) -> Manifest:
    """The manifest of what is there, if it holds the weights that were to be written."""
    try:
        there = read_manifest(target)
        verify_checkpoint(target, written.fingerprint)
    except AdapterError as error:
        raise CheckpointWriteError(f"{target} exists already and holds something else; it was kept as it is") from error
    return there


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder.

    Raises:
        AdapterError: there is none, or it is not one of ours.
    """
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        facts = {**content["facts"], "base": BaseHashes(**content["facts"]["base"])}
        created_at = datetime.fromisoformat(content["created_at"])
        return Manifest(**{**content, "facts": CheckpointFacts(**facts), "created_at": created_at})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"{folder} is not a complete checkpoint: {MANIFEST} is missing or broken") from error


def verify_checkpoint(folder: Path, expected_fingerprint: str) -> None:
    """Recompute the fingerprint and compare; no evaluation may start without it.

    Raises:
        AdapterError: the folder is gone or broken, or its weights are not those that were registered.
    """
    actual = fingerprint_adapter(folder)
    if actual != expected_fingerprint:
        raise AdapterError(
            f"the folder's weights changed since it was registered: {folder} now has the fingerprint "
            f"{actual} and was registered with {expected_fingerprint}; nothing was evaluated"
        )


def folder_size(folder: Path) -> int:
    """Bytes of all files in a checkpoint folder."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def write_file(file: Path, content: bytes) -> None:
    """Write and flush to the disk, so that the rename that follows never shows less than this."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
