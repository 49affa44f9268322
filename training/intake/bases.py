"""Which base model an uploaded adapter sits on: by hash where the upload tells one, else by what fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from training.base import LOADING_ERRORS
from training.errors import BaseModelError, IntakeError
from training.intake.members import shown
from training.intake.weights import LayerUpdate

Shapes = Mapping[str, tuple[int, int] | None]
"""[out, in] of every linear layer by its full name; None for a layer of another kind."""


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base model that is registered here. ``location`` is its hub id or folder as the admin gave it."""

    name: str
    location: str
    folder: Path
    weights_hash: str


@dataclass(frozen=True, slots=True)
class ToldBase:
    """What an upload says of its base model. ``weights_hash`` is empty where there is no manifest."""

    name: str
    weights_hash: str


def choose_base(
    told: ToldBase, updates: Sequence[LayerUpdate], known: Sequence[KnownBase], *, chosen: bool
) -> tuple[KnownBase, str]:
    """The base model that this adapter fits, and a sentence where its name and what the upload says differ.

    ``chosen``: a person named the only one of ``known``; it is taken or the upload is refused.

    Raises:
        IntakeError: none fits, or several do; says why.
        BaseModelError: the config of the chosen base model cannot be read.
    """
    if not known:
        raise IntakeError("no base model is ready here; add the one it was trained on first")
    candidates = list(known)
    if told.weights_hash:
        candidates = [base for base in known if base.weights_hash == told.weights_hash]
        if not candidates:
            there = f"{known[0].name} has {known[0].weights_hash[:12]}" if chosen else "no base model here has it"
            raise IntakeError(
                f"its manifest says that it was trained on a base model with the weights {told.weights_hash[:12]}, "
                f"and {there}; add that base model first"
            )
    misfits = {base.name: _misfit(updates, base, chosen=chosen) for base in candidates}
    fitting = [base for base in candidates if not misfits[base.name]]
    if not fitting:
        closest = next((base for base in candidates if _same(told.name, base)), candidates[0])
        raise IntakeError(f"it does not fit the base model {closest.name}: {misfits[closest.name]}")
    named = [base for base in fitting if _same(told.name, base)]
    if len(fitting) > 1 and len(named) != 1:
        names = ", ".join(base.name for base in fitting)
        raise IntakeError(f"it fits several base models ({names}); say which one it was trained on")
    base = fitting[0] if len(fitting) == 1 else named[0]
    if told.name and not told.weights_hash and not _same(told.name, base):
        return base, (
            f"The adapter says that it was trained on {shown(told.name)}, and it was matched to {base.name} by the "
            "shapes of its layers. Shapes cannot tell two models of one size apart: make sure that it is the same one."
        )
    return base, ""


def linear_shapes(folder: Path) -> Shapes:
    """The layers of a base model, built on the meta device: nothing is loaded and no code of the folder runs.

    Raises:
        BaseModelError: its config cannot be read.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise BaseModelError(f"the base model in {folder} cannot be built: {error}") from error
    return {
        name: (module.out_features, module.in_features) if isinstance(module, nn.Linear) else None
        for name, module in model.named_modules()
    }


def _misfit(updates: Sequence[LayerUpdate], base: KnownBase, *, chosen: bool) -> str:
    try:
        return misfit(updates, linear_shapes(base.folder))
    except BaseModelError as error:
        if chosen:
            raise
        return error.message  # one that is gone must not stand in the way of the others


def misfit(updates: Sequence[LayerUpdate], shapes: Shapes) -> str:
    """What about these updates does not fit these layers; empty when all do."""
    for update in updates:
        if update.layer not in shapes:
            return f"there is no layer {shown(update.layer)} in it"
        wanted = shapes[update.layer]
        if wanted is None:
            return f"{shown(update.layer)} is not a linear layer of it"
        if update.shape != wanted:
            return (
                f"{shown(update.layer)} takes {wanted[1]} numbers to {wanted[0]}, and the adapter's update takes "
                f"{update.shape[1]} to {update.shape[0]}"
            )
    return ""


def _same(told: str, base: KnownBase) -> bool:
    """Whether a told name may mean this base model: its name or location, or the last part of either."""
    if not told:
        return False
    names = {base.name.casefold(), base.location.casefold(), *(_last(one) for one in (base.name, base.location) if one)}
    return told.casefold() in names or _last(told) in names


def _last(name: str) -> str:
    return name.replace("--", "/").rstrip("/").rsplit("/", 1)[-1].casefold()
