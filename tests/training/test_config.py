"""Recipes: what is read, what is refused, and that the shipped ones are whole."""

from pathlib import Path
from typing import Any

import pytest

from training.config import load_recipe, recipe_from_dict, recipe_to_dict, what_is_learned
from training.errors import RecipeError

RECIPES = sorted((Path(__file__).parents[2] / "data" / "recipes").glob("*.toml"))
SMALLEST = {"name": "one", "kind": "sft", "base_model": "base", "dataset": "data"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_named_after_its_file_and_survives_the_way_through_json(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe_from_dict(recipe_to_dict(recipe), "stored") == recipe


def test_the_two_brie_recipes_train_as_promised() -> None:
    by_name = {path.stem: load_recipe(path) for path in RECIPES}
    first, second = by_name["brie-v1"], by_name["brie-v2"]
    assert (first.train.max_steps, first.train.save_strategy) == (10, "end")
    assert (second.train.max_steps, second.train.num_train_epochs, second.train.save_strategy) == (-1, 2, "epoch")
    assert first.base_model == second.base_model == "smollm2-135m"


def test_missing_keys_take_their_defaults() -> None:
    recipe = recipe_from_dict(SMALLEST, "r.toml")
    assert recipe.lora.target_modules == "all-linear"
    assert recipe.train.assistant_only_loss


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"train": {"learning_rte": 1e-4}}, "train.learning_rte"),
        ({"sead": 1}, "sead"),
        ({"train": {"learning_rate": "fast"}}, "train.learning_rate"),
        ({"train": {"learning_rate": 3}}, "train.learning_rate"),
        ({"train": {"num_train_epochs": 1.5}}, "train.num_train_epochs"),
        ({"train": {"assistant_only_loss": 1}}, "train.assistant_only_loss"),
        ({"train": {"max_steps": 0}}, "train.max_steps"),
        ({"train": {"lr_scheduler_type": "polynomial"}}, "train.lr_scheduler_type"),
        ({"train": {"report_to": ["mlflow"]}}, "train.report_to"),
        ({"train": {"report_to": 1}}, "train.report_to"),
        ({"train": 4}, "train"),
        ({"lora": {"r": 0}}, "lora.r"),
        ({"lora": {"r": True}}, "lora.r"),
        ({"lora": {"target_modules": []}}, "lora.target_modules"),
        ({"lora": {"target_modules": "q_proj"}}, "lora.target_modules"),
        ({"kind": "ppo"}, "kind"),
        ({"name": " "}, "name"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_bad_value_is_refused_with_file_and_key(change: dict[str, Any], named: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict({**SMALLEST, **change}, "bad.toml")
    assert "bad.toml" in caught.value.message
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("given", "read"), [("wandb", ("wandb",)), (["tensorboard", "wandb"], ("tensorboard", "wandb")), ([], ())]
)
def test_who_else_is_told_changes_nothing_that_is_learned(given: Any, read: tuple[str, ...]) -> None:
    recipe = recipe_from_dict({**SMALLEST, "train": {"report_to": given}}, "r.toml")
    assert recipe.train.report_to == read
    assert recipe_from_dict(recipe_to_dict(recipe), "stored") == recipe
    assert what_is_learned(recipe) == what_is_learned(recipe_from_dict(SMALLEST, "r.toml"))


@pytest.mark.parametrize("key", sorted(SMALLEST.keys() - {"dataset"}))
def test_a_missing_key_is_named(key: str) -> None:
    content = {name: value for name, value in SMALLEST.items() if name != key}
    with pytest.raises(RecipeError, match=f"{key} is missing"):
        recipe_from_dict(content, "short.toml")


def test_a_file_that_is_missing_or_not_toml_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.toml"):
        load_recipe(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"broken\.toml: not a TOML file"):
        load_recipe(broken)
