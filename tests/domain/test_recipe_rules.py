"""Obvious faults of a recipe are told early, by the rules that the training has."""

import dataclasses
import math
import types
import typing
from typing import Any, Literal

import pytest

from app.domain.errors import BadInputError
from app.domain.recipe_rules import RULES, Rule, check_recipe, faults, full_key
from app.domain.recipes import RecipeRow
from app.domain.terms import RunKind
from training.config import Recipe

CONTENT: dict[str, Any] = {"name": "a", "kind": "sft", "lora": {"r": 8}, "train": {"learning_rate": 1e-4}}


def of_training(kind: type, prefix: str = "") -> dict[str, Rule]:
    """The rules that the dataclasses of the training stand for."""
    hints, found = typing.get_type_hints(kind), {}
    for entry in dataclasses.fields(kind):
        hint, key = hints[entry.name], f"{prefix}{entry.name}"
        if dataclasses.is_dataclass(hint):
            found |= of_training(typing.cast("type", hint), f"{key}.")
        elif typing.get_origin(hint) is Literal:
            found[key] = Rule(str, choices=typing.get_args(hint))
        elif isinstance(hint, types.UnionType) or typing.get_origin(hint) is not None:
            found[key] = Rule(None)
        else:
            low, high = entry.metadata.get("low", -math.inf), entry.metadata.get("high", math.inf)
            found[key] = Rule(hint, low, high)
    return found


def test_the_rules_are_those_of_the_training() -> None:
    expected = of_training(Recipe)
    assert RULES.keys() == expected.keys()
    for key, rule in RULES.items():
        assert rule in (expected[key], Rule(None)), key


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        ("lora", "rr", 8, "No recipe has the key lora.rr; did you mean lora.r?"),
        ("train", "learningrate", 1, "did you mean train.learning_rate?"),
        ("train", "zzz", 1, "No recipe has the key train.zzz."),
        ("lora", "r", 0, "lora.r must be a whole number from 1 to 256, not 0."),
        ("lora", "r", True, "lora.r must be a whole number from 1 to 256, not true."),
        ("lora", "r", 8.0, "lora.r must be a whole number from 1 to 256, not 8.0."),
        ("train", "learning_rate", "fast", 'train.learning_rate must be a number from 1e-8 to 1, not "fast".'),
        ("train", "learning_rate", math.nan, "train.learning_rate must be a number from 1e-8 to 1, not nan."),
        ("train", "assistant_only_loss", 1, "train.assistant_only_loss must be true or false, not 1."),
        ("train", "lr_scheduler_type", "cos", 'must be "linear" or "cosine" or "constant", not "cos".'),
    ],
)
def test_a_fault_is_a_sentence_about_its_key(table: str, key: str, value: object, said: str) -> None:
    (sentence,) = faults({**CONTENT, table: {key: value}}).values()
    assert said in sentence


def test_a_whole_number_is_a_number() -> None:
    assert faults({**CONTENT, "train": {"learning_rate": 1}, "lora": {"target_modules": ["q_proj"]}}) == {}


def test_a_recipe_with_a_fault_is_refused_before_anything_is_launched() -> None:
    wrong = RecipeRow("a", RunKind.SFT, "", "", "", {**CONTENT, "lora": {"r": "many"}})
    with pytest.raises(BadInputError, match=r"The recipe a cannot be used\. lora\.r must be .* Nothing was launched\."):
        check_recipe(wrong)
    check_recipe(RecipeRow("a", RunKind.SFT, "", "", "", CONTENT))


def test_a_key_may_be_named_without_its_table() -> None:
    assert [full_key(one) for one in ("r", "learning_rate", "lora.r", "seed")] == [
        "lora.r", "train.learning_rate", "lora.r", "seed",
    ]  # fmt: skip
    with pytest.raises(BadInputError, match=r"did you mean lora\.r"):
        full_key("lora.rr")
