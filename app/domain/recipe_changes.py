"""Recipes as text and their changes: writing TOML, setting single keys, and telling what differs."""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.domain.errors import BadInputError
from app.domain.recipes import RecipeRow, recipe_of

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SMALL = 1e-3
_NAMES = frozenset({"name", "description", "kind", "dataset", "base_model"})
"""What a recipe is called and applied to, which a run tells by itself."""


@dataclass(frozen=True)
class Difference:
    """A key that differs between recipes, with its value in each as a page shows it; None where it is not set."""

    key: str
    values: tuple[str | None, ...]


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value; keys of a table carry its name: ``lora.r``."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(recipes: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """The keys in which recipes differ, in the order in which they first appear.

    Names, dataset and base model are left out: a run has its own, which may be others than the recipe's.
    """
    flattened = [dict(flat(recipe)) for recipe in recipes]
    keys = dict.fromkeys(key for one in flattened for key in one)
    return tuple(
        Difference(key, tuple(shown(one[key]) if key in one else None for one in flattened))
        for key in keys
        if key not in _NAMES and len({written(one[key]) if key in one else None for one in flattened}) > 1
    )


def setting(text: str) -> tuple[str, Any]:
    """A change as it is typed, ``train.learning_rate=2e-4``: its key and its value. Without quotes a word is a text.

    Raises:
        BadInputError: there is no key, or no value.
    """
    key, equals, typed = (part.strip() for part in text.partition("="))
    if not key or not equals or not typed:
        raise BadInputError(f"A change is written as KEY=VALUE, such as train.learning_rate=2e-4, not {text!r}.")
    return key, value_of(typed)


def value_of(typed: str) -> Any:
    """A value as TOML reads it; what TOML cannot read is a text."""
    try:
        read = tomllib.loads(f"value = {typed}")
    except tomllib.TOMLDecodeError:
        return typed
    return read["value"] if len(read) == 1 else typed


def with_changes(recipe: RecipeRow, changes: Mapping[str, Any], source: str) -> RecipeRow:
    """The recipe with these keys set: ``{"lora.r": 8}``. What was given stays as it was.

    Raises:
        BadInputError: a table is named where the recipe has a value, or what comes of it is no recipe.
    """
    content = deepcopy(recipe.content)
    for path, value in changes.items():
        *tables, key = path.split(".")
        table = content
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise BadInputError(f"{source} has no table {name!r} in which {path} could be set.")
        table[key] = value
    return recipe_of(content, source)


def to_toml(content: Mapping[str, Any]) -> str:
    """The text of a recipe, which reads as the same content again."""
    return "\n".join(_lines(content, "")).strip() + "\n"


def _lines(content: Mapping[str, Any], path: str) -> Iterator[str]:
    tables = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    for key, value in content.items():
        if key not in tables:
            yield f"{_key(key)} = {written(value)}"
    for key, table in tables.items():
        inner = f"{path}{_key(key)}"
        yield from ("", f"[{inner}]")
        yield from _lines(table, f"{inner}.")


def written(value: Any) -> str:
    """A value as TOML writes it: ``"cosine"``, ``2e-4``, ``[8, 16]``, ``true``."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float(value)
        case list() | tuple():
            return f"[{', '.join(written(one) for one in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{_key(key)} = {written(one)}' for key, one in value.items())}}}"
        case _:
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def shown(value: Any) -> str:
    """A value for people: as TOML writes it, a text without its quotes."""
    return value if isinstance(value, str) else written(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else written(key)


def _float(value: float) -> str:
    if not math.isfinite(value) or not 0 < abs(value) < _SMALL:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{rest}e{int(exponent) + len(digits) - 1}"
