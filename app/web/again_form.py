"""The form "train again with changes": a run's recipe in fields and as TOML, and the recipe that comes of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import BadInputError
from app.domain.names import check_name
from app.domain.recipe_changes import flat, shown, to_toml, value_of, with_changes, written
from app.domain.recipe_rules import faults
from app.domain.recipes import RecipeRow, parse_recipe, variants

FIELDS = {
    "r": ("lora.r", "Rank r"),
    "lora_alpha": ("lora.lora_alpha", "Alpha"),
    "learning_rate": ("train.learning_rate", "Learning rate"),
    "num_train_epochs": ("train.num_train_epochs", "Epochs"),
    "max_length": ("train.max_length", "Longest row, in tokens"),
    "per_device_train_batch_size": ("train.per_device_train_batch_size", "Rows in a batch"),
    "gradient_accumulation_steps": ("train.gradient_accumulation_steps", "Batches in a step"),
    "seed": ("seed", "Seed"),
}
"""What is changed most often: the name of the field, its key in the recipe, and its label."""
_APPLIED = ("dataset", "base_model")
_LONGEST = 200
_LONGEST_TOML = 20_000
_SOURCE = "The recipe"


@dataclass(frozen=True)
class AgainForm:
    """What the form holds, by field."""

    values: dict[str, str]


@dataclass
class Read:
    """What was made of a form: the recipe, or a sentence for each field that cannot be used ("" for the whole)."""

    problems: dict[str, str] = field(default_factory=dict)
    recipe: RecipeRow | None = None


def first_form(recipe: Mapping[str, Any], *, name: str, dataset: str, base_model: str) -> AgainForm:
    """The form before anything was changed. A key that the recipe leaves out has an empty field.

    ``dataset``: empty where the run learned from a mix, which is changed in the TOML.
    """
    known = dict(flat(recipe))
    values = {one: shown(known[key]) if key in known else "" for one, (key, _) in FIELDS.items()}
    applied = {"dataset": dataset, "base_model": base_model} if dataset else {"base_model": base_model}
    whole = to_toml({**recipe, **applied})
    return AgainForm({"name": name, **values, "dataset": dataset, "base_model": base_model, "toml": whole})


def filled_form(before: AgainForm, sent: Mapping[str, str]) -> AgainForm:
    """The form as it was sent; what was not sent is as it was before."""
    return AgainForm({name: sent.get(name, value) for name, value in before.values.items()})


def read_form(before: AgainForm, form: AgainForm) -> Read:
    """The recipe that the changes make.

    A key may be changed in its field or in the TOML. Changed in both to different values, its field says so.
    """
    read = Read()
    name = form.values["name"].strip()
    try:
        check_name(name, "run")
    except BadInputError as error:
        read.problems["name"] = error.message
    if len(form.values["toml"]) > _LONGEST_TOML:
        read.problems["toml"] = f"A recipe has up to {_LONGEST_TOML:,} characters."
        return read
    try:
        recipe = parse_recipe(form.values["toml"].replace("\r\n", "\n"), _SOURCE)
        old = dict(flat(parse_recipe(before.values["toml"], _SOURCE).content))
    except BadInputError as error:
        read.problems["toml"] = error.message
        return read
    changes = _changes(before, form, old, dict(flat(recipe.content)), read.problems)
    try:
        recipe = with_changes(recipe, changes, _SOURCE)
        fields = {key: one for one, (key, _) in FIELDS.items()}
        for variant in variants(recipe):
            for key, sentence in faults(variant.content).items():
                read.problems[fields.get(key, "toml")] = sentence
    except BadInputError as error:
        read.problems["toml"] = error.message
    read.recipe = None if read.problems else recipe
    return read


def _changes(
    before: AgainForm, form: AgainForm, old: Mapping[str, Any], typed: Mapping[str, Any], problems: dict[str, str]
) -> dict[str, Any]:
    """The keys whose fields were changed, with their values."""
    changes: dict[str, Any] = {}
    keys = {one: key for one, (key, _) in FIELDS.items()} | {one: one for one in _APPLIED}
    for one, key in keys.items():
        text = form.values[one].strip()
        if text == before.values[one].strip():
            continue
        if len(text) > _LONGEST or not text:
            problems[one] = "A value is needed here." if not text else "That is too long."
            continue
        value = text if one in _APPLIED else value_of(text)
        there = typed.get(key)
        if written(there) not in {written(old.get(key)), written(value)}:
            problems[one] = f"The recipe below was changed to {shown(there)}: change it in one of the two places."
        changes[key] = value
    return changes
