"""Recipes: one named training configuration as a TOML file, read into frozen dataclasses.

A sweep (a list where one value is asked for) is several recipes, which ``arena train`` makes of it before.

Keys are named as in TRL, transformers and peft where the meaning is the same. Standard library only, so that
a recipe can be checked where torch is not installed.
"""

import dataclasses
import functools
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.errors import RecipeError

LARGEST_WEIGHT = 100
"""How often an epoch may see a row at most."""


def _between(low: float, high: float = math.inf, *, default: Any = dataclasses.MISSING) -> Any:
    """A field whose number must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """The shape of the adapter: W x + scale · B A x."""

    r: int = _between(1, 256, default=16)
    """Rank of the update of each layer."""
    lora_alpha: float = _between(1e-3, 4096, default=32)
    """Scale of the update is lora_alpha / r (or lora_alpha / sqrt(r) with use_rslora)."""
    lora_dropout: float = _between(0, 0.9, default=0.0)
    """Share of the adapter's input that is dropped while training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Layers that get an update: "all-linear" (all but the head), or names such as ["q_proj", "v_proj"]."""
    use_rslora: bool = False
    """Scale by sqrt(r) instead of r, so that the learning rate carries over between ranks."""
    use_dora: bool = False
    """Learn the length of each row of W + scale · B A by itself (DoRA, arXiv:2402.09353): closer to full fine-tuning at
    small r; a step takes longer and keeps more memory, as these layers are not fused."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How long, how fast, and on what the loss is taken."""

    num_train_epochs: int = _between(1, 1000, default=1)
    """Passes over the training file; not used when max_steps is set."""
    max_steps: int = _between(-1, 10_000_000, default=-1)
    """Optimizer steps, going round the file as often as needed; -1 = by epochs."""
    per_device_train_batch_size: int = _between(1, 4096, default=4)
    """Rows in one forward and backward pass."""
    max_tokens_per_pass: int = _between(0, 10_000_000, default=0)
    """A pass that would hold more tokens, padding counted, is made in several, and the step stays the same but for
    rounding: memory then follows the text and not its longest row. A longer row has a pass to itself; 0 = no limit."""
    gradient_accumulation_steps: int = _between(1, 4096, default=1)
    """Passes per optimizer step; the loss is normalised over the tokens of all of them."""
    learning_rate: float = _between(1e-8, 1, default=2e-4)
    """Peak learning rate, reached after the warm-up."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "cosine"
    """What the learning rate does after the warm-up: falls to 0 (linear, cosine) or stays (constant)."""
    warmup_ratio: float = _between(0, 0.9, default=0.0)
    """Share of all steps over which the learning rate rises from 0."""
    weight_decay: float = _between(0, 1, default=0.0)
    """AdamW's weight decay."""
    max_grad_norm: float = _between(1e-6, 1e6, default=1.0)
    """Gradients are scaled down to this norm when they are longer."""
    max_length: int = _between(8, 1_048_576, default=1024)
    """Rows of more tokens are skipped and named in a warning, never cut."""
    assistant_only_loss: bool = True
    """Loss on what the assistant says (its end of turn included), or on every token."""
    gradient_checkpointing: bool = False
    """Compute activations twice to hold fewer of them: less memory, about a third slower."""
    eval_steps: int = _between(0, 10_000_000, default=0)
    """Validation loss every so many steps; 0 = at epoch ends only. The base is always measured first."""
    early_stopping_patience: int = _between(0, 1000, default=0)
    """Stop after so many measurements in a row without a lower validation loss; 0 = never."""
    save_strategy: Literal["epoch", "end"] = "epoch"
    """A checkpoint at the end of each epoch, or one at the end."""
    load_in_4bit: bool = False
    """Hold the frozen base in four bits while training: a quarter of the memory for it, slower; needs bitsandbytes."""
    report_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Who is told of losses and checkpoints besides the arena; what is named must be installed."""
    keep: Literal["all", "best", "last"] = "all"
    """Checkpoints that are left when the run is done: all, the one with the lowest validation loss, or the last. One
    that takes part in an eval batch by then stays in any case."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One named training configuration. ``lora`` and ``train`` are tables of the TOML file."""

    name: str
    """Name of the recipe; runs and checkpoints are called after it ("brie-v2/epoch-1")."""
    kind: Literal["sft"]
    """How the run learns."""
    base_model: str
    """Name of a base model of this arena, or a hub id such as "Qwen/Qwen2.5-0.5B-Instruct"."""
    dataset: str = ""
    """Name of the dataset to train on; empty where ``mix`` names several."""
    description: str = ""
    """One sentence for people."""
    seed: int = _between(0, 2**63 - 1, default=17)
    """Seed of the adapter's first weights, the order of rows and dropout."""
    lora: LoraSettings = LoraSettings()
    """The adapter."""
    train: TrainSettings = TrainSettings()
    """The training."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Several datasets by name, each with how often an epoch sees its rows: 2 = twice, 0.5 = half of them."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        RecipeError: the file is missing, is not TOML, or holds an unknown key or an unusable value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not a TOML file ({error})") from error
    return recipe_from_dict(content, str(path))


def recipe_from_dict(content: Mapping[str, Any], source: str) -> Recipe:
    """Check ``content`` and build the recipe; ``source`` is named in errors.

    Raises:
        RecipeError: an unknown or missing key, a wrong type, or a value out of range.
    """
    recipe: Recipe = _build(Recipe, content, source, prefix="")
    if recipe.train.max_steps == 0:
        raise RecipeError(f"{source}: train.max_steps must be -1 (by epochs) or at least 1")
    if bool(recipe.dataset) == bool(recipe.mix):
        raise RecipeError(f"{source}: name one dataset, or several in a table [mix]; one of the two is needed")
    return recipe


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values; ``recipe_from_dict`` gives the same recipe back."""
    content = {entry.name: getattr(recipe, entry.name) for entry in dataclasses.fields(recipe)}
    content |= {"lora": dataclasses.asdict(recipe.lora), "train": dataclasses.asdict(recipe.train)}
    content["mix"] = dict(recipe.mix)
    if not recipe.mix:  # recipes without one have the same identity as ever
        del content["mix"]
    targets = content["lora"]["target_modules"]
    content["lora"]["target_modules"] = targets if isinstance(targets, str) else list(targets)
    content["train"]["report_to"] = list(content["train"]["report_to"])
    return content


def what_is_learned(recipe: Recipe) -> dict[str, Any]:
    """The recipe without what changes no bit of the result: a run may go on with another of these."""
    content = recipe_to_dict(recipe)
    for key in ("report_to", "keep"):
        del content["train"][key]
    return content


def _build(kind: type, content: Mapping[str, Any], source: str, prefix: str) -> Any:
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    for key in content:
        if key not in fields:
            known = ", ".join(sorted(fields))
            raise RecipeError(f"{source}: unknown key {prefix}{key}; known here: {known}")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, entry in fields.items():
        key = f"{prefix}{name}"
        if name in content:
            is_mix = typing.get_origin(hints[name]) is Mapping
            read = _weights if is_mix else functools.partial(_value, hint=hints[name], limits=entry.metadata)
            values[name] = read(content[name], source=source, key=key)
        elif entry.default is entry.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{source}: the key {key} is missing")
    return kind(**values)


def _value(value: Any, hint: Any, limits: Mapping[str, float], source: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise RecipeError(f"{source}: {key} must be a table of keys")
        return _build(typing.cast("type", hint), value, source, prefix=f"{key}.")
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            allowed = " or ".join(f'"{choice}"' for choice in choices)
            raise RecipeError(f"{source}: {key} must be {allowed}, not {value!r}")
        return value
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is tuple:
        return _names(value, hint, source, key)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise RecipeError(f"{source}: {key} must be {_word(hint)}, not {value!r}")
    if limits and not limits["low"] <= value <= limits["high"]:
        allowed = f"between {limits['low']:g} and {limits['high']:g}"
        raise RecipeError(f"{source}: {key} must lie {allowed}, not {value!r}")
    if hint is str and not value.strip() and key not in {"description", "dataset"}:
        raise RecipeError(f"{source}: {key} must not be empty")
    return value


def _names(value: Any, hint: Any, source: str, key: str) -> str | tuple[str, ...]:
    """Names of layers, or some of the names that the hint lists."""
    if isinstance(hint, types.UnionType):
        return _module_names(value, source, key)
    known = typing.get_args(typing.get_args(hint)[0])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or any(name not in known for name in names):
        allowed = ", ".join(f'"{name}"' for name in known)
        raise RecipeError(f"{source}: {key} must be a list of some of {allowed}, not {value!r}")
    return tuple(names)


def _module_names(value: Any, source: str, key: str) -> str | tuple[str, ...]:
    if value == "all-linear":
        return "all-linear"
    if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    raise RecipeError(f'{source}: {key} must be "all-linear" or a list of layer names, not {value!r}')


def _weights(value: Any, source: str, key: str) -> Mapping[str, float]:
    if not isinstance(value, Mapping):
        raise RecipeError(f"{source}: {key} must be a table of datasets and weights")
    for name, weight in value.items():
        if type(weight) not in {int, float} or not 0 < weight <= LARGEST_WEIGHT:
            raise RecipeError(
                f"{source}: {key}.{name} must be a number above 0 and not above {LARGEST_WEIGHT}, not {weight!r}"
            )
    # By name, as what is drawn depends on the order, and a database need not keep it.
    return {name: float(weight) for name, weight in sorted(value.items())}


def _word(hint: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[hint]
