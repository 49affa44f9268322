"""Recipes as the arena knows them: name, kind and what they ask for. Their values belong to the training code."""

import itertools
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.domain.errors import BadInputError
from app.domain.terms import RunKind

MOST_RUNS = 64
"""Of one sweep."""

LARGEST_WEIGHT = 100
"""How often an epoch may see the rows of a dataset at most."""
_LISTS = frozenset({"report_to", "target_modules"})
"""Keys whose value is a list in any case."""


@dataclass(frozen=True)
class RecipeRow:
    """What a recipe file says about itself, with its whole content."""

    name: str
    kind: RunKind
    description: str
    base_model: str
    dataset: str
    """Empty where ``mix`` names several."""
    content: dict[str, Any]
    mix: Mapping[str, float] = field(default_factory=dict)
    """Datasets by name, each with how often an epoch sees its rows."""


def read_recipe(path: Path) -> RecipeRow:
    """Read one recipe file.

    Raises:
        BadInputError: the file is missing, is no TOML, or lacks a name or a known kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"The recipe {path} cannot be read: {error}.") from error
    return parse_recipe(text, f"The recipe {path}")


def parse_recipe(text: str, source: str) -> RecipeRow:
    """A recipe from its text; ``source`` begins every sentence about it.

    Raises:
        BadInputError: it is no TOML, or lacks a name or a known kind.
    """
    try:
        return recipe_of(tomllib.loads(text), source)
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{source} is not valid TOML: {error}.") from error


def recipe_of(content: dict[str, Any], source: str) -> RecipeRow:
    """A recipe from what its text holds.

    Raises:
        BadInputError: it lacks a name or a known kind.
    """
    texts = {key: content.get(key, "") for key in ("name", "kind", "description", "base_model", "dataset")}
    if not all(isinstance(value, str) for value in texts.values()) or not texts["name"]:
        raise BadInputError(f"{source} needs a name, and name, kind, base_model and dataset must be texts.")
    if texts["kind"] not in list(RunKind):
        raise BadInputError(f"{source} has the kind {texts['kind']!r}; known are {', '.join(RunKind)}.")
    mix = content.get("mix", {})
    if not isinstance(mix, dict) or bool(mix) == bool(texts["dataset"]):
        raise BadInputError(f"{source} must name one dataset, or several in a table [mix] with their weights.")
    return RecipeRow(
        name=texts["name"],
        kind=RunKind(texts["kind"]),
        description=texts["description"],
        base_model=texts["base_model"],
        dataset=texts["dataset"],
        content=content,
        mix=check_mix(mix),
    )


def check_mix(mix: Mapping[str, Any]) -> dict[str, float]:
    """The weights of a mix as numbers.

    Raises:
        BadInputError: one is no number above 0 and up to 100; names its dataset.
    """
    for name, weight in mix.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= LARGEST_WEIGHT:
            raise BadInputError(
                f"The weight of the dataset {name} is {weight!r}; it says how often an epoch sees each of its rows, "
                f"and must be above 0 and at most {LARGEST_WEIGHT}: 2 is twice, 0.5 half of the rows."
            )
    return {name: float(weight) for name, weight in mix.items()}


def read_mix(named: Sequence[str]) -> dict[str, float]:
    """Datasets as they are given on the command line, ``brie=2`` or ``brie`` for a weight of 1.

    Raises:
        BadInputError: a weight is no number, or a dataset is named twice.
    """
    found: dict[str, Any] = {}
    for one in named:
        name, equals, weight = one.partition("=")
        if name in found:
            raise BadInputError(f"The dataset {name} is named twice. Give it once, with the weight it is to have.")
        try:
            found[name] = float(weight) if equals else 1.0
        except ValueError:
            found[name] = weight
    return check_mix(found)


def with_data(recipe: RecipeRow, mix: Mapping[str, float]) -> RecipeRow:
    """The same recipe on other data: one dataset by its name alone, or several with their weights."""
    content = {key: value for key, value in recipe.content.items() if key not in {"dataset", "mix"}}
    if len(mix) == 1 and set(mix.values()) == {1.0}:
        [name] = mix
        return replace(recipe, dataset=name, mix={}, content={**content, "dataset": name})
    return replace(recipe, dataset="", mix=dict(mix), content={**content, "mix": dict(mix)})


def variants(recipe: RecipeRow) -> tuple[RecipeRow, ...]:
    """The recipes that a sweep stands for: one for each combination of the values in its lists.

    ``r = [8, 16, 32]`` under ``[lora]`` makes three, called after what differs: ``brie-v2-r8``. A recipe without such a
    list is itself.

    Raises:
        BadInputError: a list is empty, holds a list, or there are too many combinations.
    """
    swept = [
        (table, key, value)
        for table in ("", "lora", "train")
        for key, value in _table(recipe.content, table).items()
        if isinstance(value, list) and key not in _LISTS
    ]
    if not swept:
        return (recipe,)
    for _, key, values in swept:
        if not values or any(isinstance(value, list | dict) for value in values):
            raise BadInputError(f"The recipe {recipe.name} sweeps over {key}, which needs a list of single values.")
    runs = math.prod(len(values) for *_, values in swept)
    if runs > MOST_RUNS:
        raise BadInputError(
            f"The recipe {recipe.name} stands for {runs} runs; at most {MOST_RUNS} can be launched at once. Nothing "
            "was launched."
        )
    return tuple(_variant(recipe, swept, chosen) for chosen in itertools.product(*(values for *_, values in swept)))


def _variant(recipe: RecipeRow, swept: Sequence[tuple[str, str, list[Any]]], chosen: Sequence[Any]) -> RecipeRow:
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.content.items()}
    for (table, key, _), value in zip(swept, chosen, strict=True):
        _table(content, table)[key] = value
    called = "-".join(f"{key}{value}" for (_, key, _), value in zip(swept, chosen, strict=True))
    name = f"{recipe.name}-{re.sub('[^A-Za-z0-9.]+', '-', called).strip('-')}"
    return replace(recipe, name=name, content={**content, "name": name})


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    """A table of the recipe, the recipe itself for ""; empty where it is something else, which the training refuses."""
    found = content.get(name, {}) if name else content
    return found if isinstance(found, dict) else {}


def shipped_recipes(folder: Path) -> tuple[RecipeRow, ...]:
    """All recipe files of a folder, by name."""
    return tuple(sorted((read_recipe(path) for path in folder.glob("*.toml")), key=lambda recipe: recipe.name))


def find_recipe(folder: Path, wanted: str) -> RecipeRow:
    """A recipe by its name among the shipped ones, or by the path of a ``.toml`` file.

    Raises:
        BadInputError: neither exists; lists what does.
    """
    if wanted.endswith(".toml"):
        return read_recipe(Path(wanted))
    shipped = shipped_recipes(folder)
    for recipe in shipped:
        if recipe.name == wanted:
            return recipe
    known = ", ".join(recipe.name for recipe in shipped)
    raise BadInputError(f"There is no recipe {wanted!r}. Known: {known}; or give the path of a .toml file.")
