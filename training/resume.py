"""Where a run can go on after it was broken off, bit for bit: adapter, optimizer, random state, and figures so far.

A resume point is a folder ``.resume/step-N`` beside the checkpoints. It appears whole or not at all, the one before it
goes when it is there, and the last goes when the run is done. Safetensors and JSON only.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from training.checkpoint import MANIFEST, flush_folder, write_file
from training.effect import Effect
from training.errors import CheckpointWriteError, ResumeError
from training.events import CheckpointSaved, Evaluated

FOLDER = ".resume"
TENSORS, STATE = "state.safetensors", "state.json"
FORMAT = 1


@dataclass(slots=True)
class Progress:
    """How far a run has got; everything about it that is no tensor."""

    step: int = 0
    """Optimizer steps taken."""
    epoch: float = 0.0
    tokens: int = 0
    """Tokens seen, padding not counted."""
    busy: float = 0.0
    """Seconds spent on steps."""
    losses: list[float] = field(default_factory=list)
    """Of every step."""
    saved_at: int = 0
    """How many of them are told by a checkpoint."""
    saved: list[CheckpointSaved] = field(default_factory=list)
    evaluated: list[Evaluated] = field(default_factory=list)
    """The first is that of the base itself."""
    rows_at_once: int = 0
    """Rows that fit into memory, learned by running out of it; 0: as many as the recipe says."""


def identity_of(told: Mapping[str, Any]) -> str:
    """One hash over all that must be the same for a run to go on: what is told, and the software."""
    return hashlib.sha256(json.dumps({**told, "torch": version("torch")}, sort_keys=True).encode()).hexdigest()


def newest_point(out: Path) -> Path | None:
    """The resume point in a folder of checkpoints, if there is one."""
    points = [folder for folder in (out / FOLDER).glob("step-*") if (folder / STATE).is_file()]
    return max(points, key=_step_of, default=None)


def keep(
    out: Path, identity: str, progress: Progress, model: Any, optimizer: torch.optim.Optimizer,
    random_state: Mapping[str, torch.Tensor],
) -> None:  # fmt: skip
    """Write the resume point of this step, and remove those before it. One that is there already stays as it is.

    Raises:
        CheckpointWriteError: the disk is full or cannot be written; the point before stays.
    """
    place = out / FOLDER
    target, partial = place / f"step-{progress.step}", place / ".partial"
    if (target / STATE).is_file():  # the same state: to write it again would leave a moment without any
        return
    tensors = {f"adapter.{name}": parameter.detach() for name, parameter in _trained(model)}
    names = {id(parameter): name for name, parameter in _trained(model)}
    for parameter, state in optimizer.state.items():
        tensors.update({f"optimizer.{key}.{names[id(parameter)]}": value for key, value in state.items()})
    tensors.update({f"random.{device}": state for device, state in random_state.items()})
    told = {"format": FORMAT, "identity": identity, "progress": dataclasses.asdict(progress)}
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_file(partial / TENSORS, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))
        write_file(partial / STATE, json.dumps(told, default=_plain).encode())
        partial.rename(target)
        flush_folder(place)
        for older in place.glob("step-*"):
            if older != target:
                shutil.rmtree(older)
    except OSError as error:
        raise CheckpointWriteError(
            f"the resume point at step {progress.step} could not be written ({os.strerror(error.errno or 0)}); what "
            "was kept before it is untouched: free some space and start the run again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def restore(
    out: Path, identity: str, model: Any, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """Bring a run back to its resume point; ``None`` where there is none.

    Returns:
        How far it had got, and the random state to go on with (see ``set_random_state``).

    Raises:
        ResumeError: the point is of another recipe, base, data, device or software, or is broken. Nothing was changed.
        CheckpointWriteError: there is no resume point, but there are checkpoints of a run that is done.
    """
    point = newest_point(out)
    if point is None:
        if any(out.glob(f"*/{MANIFEST}")):
            raise CheckpointWriteError(f"{out} holds checkpoints of an earlier run, which were kept; choose another")
        return None
    try:
        told = json.loads((point / STATE).read_text(encoding="utf-8"))
        if told["format"] != FORMAT or told["identity"] != identity:
            raise ResumeError(
                f"the run in {out} was broken off with another recipe, base model, data, device, number of "
                "processes or version of the software, so it cannot go on with this one; it was kept: choose another "
                "folder"
            )
        progress = _progress(told["progress"])
        tensors = load_file(point / TENSORS)
        trained = dict(_trained(model))
        adapter = {name: tensors[f"adapter.{name}"] for name in trained}
        states = _optimizer_states(tensors, trained)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ResumeError(
            f"the resume point {point} is broken ({error}); it was kept: remove it to train from the start"
        ) from error
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(adapter[name])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return progress, {key.removeprefix("random."): value for key, value in tensors.items() if key.startswith("random.")}


def carry(earlier: Iterable[Path], out: Path) -> bool:
    """Copy the furthest resume point of earlier attempts to a new folder; returns whether there was one.

    A copy, as an attempt that is only thought to be dead may still be writing to its own folder.

    Raises:
        CheckpointWriteError: it could not be copied.
    """
    points = [point for point in map(newest_point, earlier) if point is not None]
    if not points:
        return False
    point = max(points, key=_step_of)
    partial = out / FOLDER / ".partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(point, partial)
        partial.rename(out / FOLDER / point.name)
    except OSError as error:
        raise CheckpointWriteError(
            f"the resume point {point} could not be copied ({os.strerror(error.errno or 0)}); it is untouched: free "
            "some space and start the run again"
        ) from error
    return True


def forget(out: Path) -> None:
    """The run is done: nothing is left to go on with."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of torch's global generators, by device."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        found["mps"] = torch.mps.get_rng_state()
    return found


def set_random_state(device: torch.device, state: Mapping[str, torch.Tensor]) -> None:
    """Draw again what was drawn after ``random_state``."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state["mps"])


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _optimizer_states(
    tensors: Mapping[str, torch.Tensor], trained: Mapping[str, torch.nn.Parameter]
) -> dict[int, dict[str, torch.Tensor]]:
    """By the place of a parameter in the optimizer, which has them in the order of the model."""
    places = {name: place for place, name in enumerate(trained)}
    found: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, what, name = key.split(".", 2)
            found.setdefault(places[name], {})[what] = value
    return found


def _progress(told: Mapping[str, Any]) -> Progress:
    saved = [
        CheckpointSaved(**{**one, "folder": Path(one["folder"]), "effect": Effect(**one["effect"])})
        for one in told["saved"]
    ]
    return Progress(**{**told, "saved": saved, "evaluated": [Evaluated(**one) for one in told["evaluated"]]})


def _step_of(point: Path) -> int:
    number = point.name.removeprefix("step-")
    return int(number) if number.isdecimal() else -1


def _plain(value: Any) -> Any:
    return str(value)
