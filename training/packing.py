"""Checkpoints made ready for elsewhere: the adapter itself, a merged model, or an adapter for llama.cpp.

A package is a folder that appears whole or not at all: it is written beside its place and renamed.
"""

import errno
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training import checkpoint
from training.checkpoint import MANIFEST
from training.errors import PackError
from training.fingerprint import adapter_file
from training.gguf_adapter import write_gguf
from training.merge import Step, merge, size_when_merged

CARD = "README.md"
KINDS = ("adapter", "merged", "gguf")
_SPARE = 1.05
"""Of the room that is asked for before a merge: configs, tokenizer, and what a disk needs for itself."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    size_bytes: int
    off: float | None
    """Of a merged model: the largest difference of a logit to base and adapter, as a share of the largest logit."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be packed. ``number_format`` counts for a merged model alone; ``card`` is the text of its README."""

    kind: str
    base_folder: Path
    adapter_folder: Path
    fingerprint: str
    name: str
    card: str
    number_format: str = "float32"


def pack(wanted: Wanted, target: Path, *, device: str, step: Step) -> Packed:
    """Write a package; the folder ``target`` appears only when it is complete.

    Raises:
        AdapterError: the adapter's weights are not those with this fingerprint, or it cannot be read.
        BaseModelError: the base model cannot be loaded.
        PackError: it cannot be written in this form, or the disk is full. Nothing half-written remains.
    """
    checkpoint.verify_checkpoint(wanted.adapter_folder, wanted.fingerprint)
    partial = target.parent / f".{target.name}.partial"
    off = None
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if wanted.kind == "merged":
            _require_room(wanted, partial)
            off = merge(
                wanted.base_folder, wanted.adapter_folder, partial, wanted.number_format, device=device, step=step
            )
        elif wanted.kind == "gguf":
            step(0, 1, "Writing the GGUF file")
            called = wanted.name.replace("/", "-")
            write_gguf(wanted.base_folder, wanted.adapter_folder, partial / f"{called}.gguf", name=wanted.name)
        else:
            step(0, 1, "Copying the adapter")
            _copy(wanted.adapter_folder, partial)
        checkpoint.write_file(partial / CARD, wanted.card.encode())
        checkpoint.flush_folder(partial)
        shutil.rmtree(target, ignore_errors=True)  # of an attempt that was broken off right behind its end
        partial.rename(target)
        checkpoint.flush_folder(target.parent)
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror or error)
        raise PackError(f"the package could not be written ({what}); nothing of it was kept") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Packed(checkpoint.folder_size(target), off)


def _copy(adapter_folder: Path, partial: Path) -> None:
    files: Mapping[str, Path] = {
        "adapter_model.safetensors": adapter_file(adapter_folder),
        "adapter_config.json": adapter_folder / "adapter_config.json",
        MANIFEST: adapter_folder / MANIFEST,
    }
    for name, file in files.items():
        if name != MANIFEST or file.is_file():  # an adapter from elsewhere may have none
            shutil.copyfile(file, partial / name)


def _require_room(wanted: Wanted, partial: Path) -> None:
    needed = int(_SPARE * size_when_merged(wanted.base_folder, wanted.number_format))
    free = shutil.disk_usage(partial).free
    if free < needed:
        raise PackError(
            f"the merged model takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free, so nothing was written. "
            "Free some space, or choose a smaller number format"
        )
