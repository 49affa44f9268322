"""Recipes as text and back, single keys of them, and what differs between them."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInputError
from app.domain.recipe_changes import differences, flat, setting, shown, to_toml, value_of, with_changes, written
from app.domain.recipes import recipe_of

CONTENT: dict[str, Any] = {
    "name": "brie-v2", "kind": "sft", "base_model": "small", "dataset": "brie", "seed": 17,
    "lora": {"r": 16, "lora_alpha": 32}, "train": {"learning_rate": 4e-4, "max_length": 1024},
}  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
values = scalars | st.lists(scalars, max_size=4)
contents = st.dictionaries(texts, values | st.dictionaries(texts, values, max_size=4), max_size=6)


@given(contents)
def test_what_is_written_reads_as_the_same_again(content: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(content)) == content


def test_a_recipe_as_it_is_written() -> None:
    assert to_toml(CONTENT) == (
        'name = "brie-v2"\nkind = "sft"\nbase_model = "small"\ndataset = "brie"\nseed = 17\n\n'
        "[lora]\nr = 16\nlora_alpha = 32\n\n[train]\nlearning_rate = 4e-4\nmax_length = 1024\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0004, "4e-4"), (0.00015, "1.5e-4"), (-1e-8, "-1e-8"), (0.001, "0.001"), (2.0, "2.0"), (True, "true"),
        (["q", 2e-4], '["q", 2e-4]'), ({"a": 1}, "{a = 1}"), ('a"b\n', '"a\\"b\\n"'),
    ],
)  # fmt: skip
def test_values_are_written_as_people_write_them(value: object, text: str) -> None:
    assert written(value) == text
    assert value_of(text) == value


def test_words_need_no_quotes() -> None:
    assert setting("train.lr_scheduler_type = cosine") == ("train.lr_scheduler_type", "cosine")
    assert setting("lora.r=[8, 16]") == ("lora.r", [8, 16])
    assert setting('name="a = b"') == ("name", "a = b")
    assert value_of("1\nother = 2") == "1\nother = 2"  # one value, not a second key


@pytest.mark.parametrize("text", ["train.learning_rate", "=3", "lora.r=", ""])
def test_a_change_without_a_key_or_a_value_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match=r"train\.learning_rate=2e-4"):
        setting(text)


def test_changes_make_a_new_recipe_and_leave_the_old_one() -> None:
    old = recipe_of(CONTENT, "The recipe")
    new = with_changes(old, {"train.learning_rate": 2e-4, "lora.use_rslora": True, "dataset": "other"}, "The recipe")
    assert new.content["train"] == {"learning_rate": 2e-4, "max_length": 1024}
    assert (new.content["lora"]["use_rslora"], new.dataset) == (True, "other")
    assert old.content == CONTENT
    assert "use_rslora" not in CONTENT["lora"]


@pytest.mark.parametrize(("change", "said"), [({"seed.r": 1}, "no table 'seed'"), ({"kind": "rl"}, "the kind 'rl'")])
def test_changes_that_make_no_recipe_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        with_changes(recipe_of(CONTENT, "The recipe"), change, "The recipe")


def test_only_what_differs_is_told() -> None:
    other = {**CONTENT, "name": "b", "dataset": "x", "lora": {"r": 8, "lora_alpha": 32, "use_rslora": True}}
    found = differences([CONTENT, other, CONTENT])
    assert [(one.key, one.values) for one in found] == [
        ("lora.r", ("16", "8", "16")),
        ("lora.use_rslora", (None, "true", None)),
    ]
    assert differences([CONTENT, CONTENT]) == differences([CONTENT]) == ()


def test_one_and_one_point_zero_are_told_apart_as_they_are_written() -> None:
    assert [one.values for one in differences([{"a": 1}, {"a": 1.0}])] == [("1", "1.0")]


def test_tables_are_named_before_their_keys() -> None:
    assert dict(flat({"a": 1, "b": {"c": {"d": 2}}})) == {"a": 1, "b.c.d": 2}
    assert (shown("cosine"), shown(["q"])) == ("cosine", '["q"]')
