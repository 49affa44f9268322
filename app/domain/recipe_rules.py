"""What the keys of a recipe may hold, so that an obvious fault is told before a run waits for its worker.

The training code decides (``training/config.py``) and looks at every recipe again; a test keeps these rules like its.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import BadInputError
from app.domain.recipe_changes import flat, written
from app.domain.recipes import RecipeRow

_MIX = "mix."
"""Before the names of datasets, which may be any; their weights are checked where the recipe is read."""
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class Rule:
    """What a key may hold: a kind of value and its range, or one of these words, or (without a kind) more than that."""

    kind: type | None
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()


RULES = {
    "name": Rule(str),
    "kind": Rule(None),
    "base_model": Rule(str),
    "dataset": Rule(None),
    "mix": Rule(None),
    "description": Rule(str),
    "seed": Rule(int, 0, 2**63 - 1),
    "lora.r": Rule(int, 1, 256),
    "lora.lora_alpha": Rule(float, 1e-3, 4096),
    "lora.lora_dropout": Rule(float, 0, 0.9),
    "lora.target_modules": Rule(None),
    "lora.use_rslora": Rule(bool),
    "lora.use_dora": Rule(bool),
    "train.num_train_epochs": Rule(int, 1, 1000),
    "train.max_steps": Rule(int, -1, 10_000_000),
    "train.per_device_train_batch_size": Rule(int, 1, 4096),
    "train.max_tokens_per_pass": Rule(int, 0, 10_000_000),
    "train.gradient_accumulation_steps": Rule(int, 1, 4096),
    "train.learning_rate": Rule(float, 1e-8, 1),
    "train.lr_scheduler_type": Rule(str, choices=("linear", "cosine", "constant")),
    "train.warmup_ratio": Rule(float, 0, 0.9),
    "train.weight_decay": Rule(float, 0, 1),
    "train.max_grad_norm": Rule(float, 1e-6, 1e6),
    "train.max_length": Rule(int, 8, 1_048_576),
    "train.assistant_only_loss": Rule(bool),
    "train.gradient_checkpointing": Rule(bool),
    "train.eval_steps": Rule(int, 0, 10_000_000),
    "train.early_stopping_patience": Rule(int, 0, 1000),
    "train.save_strategy": Rule(str, choices=("epoch", "end")),
    "train.load_in_4bit": Rule(bool),
    "train.report_to": Rule(None),
    "train.keep": Rule(str, choices=("all", "best", "last")),
}


def full_key(wanted: str) -> str:
    """A key with its table: ``learning_rate`` is ``train.learning_rate``.

    Raises:
        BadInputError: no recipe has this key.
    """
    if wanted.startswith(_MIX):
        return wanted
    found = [key for key in RULES if key == wanted or key.endswith(f".{wanted}")]
    if not found:
        raise BadInputError(_unknown(wanted))
    return found[0]


def faults(content: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a recipe that is no sweep: a sentence for each key that cannot be used."""
    found = {}
    for key, value in flat(content):
        rule = RULES.get("mix" if key.startswith(_MIX) else key)
        sentence = _unknown(key) if rule is None else _fault(key, value, rule)
        if sentence:
            found[key] = sentence
    return found


def check_recipe(recipe: RecipeRow) -> None:
    """Refuse a recipe with an obvious fault.

    Raises:
        BadInputError: a key is unknown or holds what it cannot; says which, and that nothing was launched.
    """
    for sentence in faults(recipe.content).values():
        raise BadInputError(f"The recipe {recipe.name} cannot be used. {sentence} Nothing was launched.")


def _unknown(key: str) -> str:
    by_last = {one.rpartition(".")[2]: one for one in RULES}
    near = difflib.get_close_matches(key.rpartition(".")[2], by_last, n=1, cutoff=0.5)
    return f"No recipe has the key {key}{f'; did you mean {by_last[near[0]]}?' if near else '.'}"


def _fault(key: str, value: Any, rule: Rule) -> str:
    kind = rule.kind
    if kind is None:
        return ""
    if rule.choices:
        allowed = " or ".join(f'"{choice}"' for choice in rule.choices)
        return "" if value in rule.choices else f"{key} must be {allowed}, not {written(value)}."
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in {int, float}:
        fits = number and (kind is float or isinstance(value, int)) and rule.low <= value <= rule.high
    else:
        fits = isinstance(value, kind)
    return "" if fits else f"{key} must be {_KINDS[kind]}{_range(rule)}, not {written(value)}."


def _range(rule: Rule) -> str:
    return f" from {_figure(rule.low)} to {_figure(rule.high)}" if math.isfinite(rule.low) else ""


def _figure(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else written(float(value))
