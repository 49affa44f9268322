"""Recipes as the arena knows them: name, kind and what they ask for. Their values belong to the training code."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain.errors import BadInputError
from app.domain.terms import RunKind


@dataclass(frozen=True)
class RecipeRow:
    """What a recipe file says about itself, with its whole content."""

    name: str
    kind: RunKind
    description: str
    base_model: str
    dataset: str
    content: dict[str, Any]


def read_recipe(path: Path) -> RecipeRow:
    """Read one recipe file.

    Raises:
        BadInputError: the file is missing, is no TOML, or lacks a name or a known kind.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"The recipe {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"The recipe {path} is not valid TOML: {error}.") from error
    texts = {key: content.get(key, "") for key in ("name", "kind", "description", "base_model", "dataset")}
    if not all(isinstance(value, str) for value in texts.values()) or not texts["name"]:
        raise BadInputError(f"The recipe {path} needs a name, and name, kind, base_model and dataset must be texts.")
    if texts["kind"] not in list(RunKind):
        raise BadInputError(f"The recipe {path} has the kind {texts['kind']!r}; known are {', '.join(RunKind)}.")
    return RecipeRow(
        name=texts["name"],
        kind=RunKind(texts["kind"]),
        description=texts["description"],
        base_model=texts["base_model"],
        dataset=texts["dataset"],
        content=content,
    )


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
