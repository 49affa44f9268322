"""A recipe with lists stands for several recipes, called after what differs."""

from pathlib import Path

import pytest

from app.domain.errors import BadInputError
from app.domain.recipes import RecipeRow, find_recipe, read_recipe, variants

HEAD = 'name = "brie"\nkind = "sft"\nbase_model = "small"\ndataset = "d"\n'


def recipe(tmp_path: Path, rest: str) -> RecipeRow:
    file = tmp_path / "brie.toml"
    file.write_text(HEAD + rest, encoding="utf-8")
    return read_recipe(file)


def test_a_recipe_without_a_list_is_itself(tmp_path: Path) -> None:
    plain = recipe(tmp_path, '[lora]\nr = 8\ntarget_modules = ["q_proj", "v_proj"]\n[train]\nreport_to = ["wandb"]\n')
    assert variants(plain) == (plain,)


def test_every_combination_is_a_recipe_of_its_own(tmp_path: Path) -> None:
    swept = recipe(tmp_path, "[lora]\nr = [8, 16, 32]\nlora_alpha = 32\n[train]\nlearning_rate = [1e-4, 2e-4]\n")
    found = variants(swept)
    assert [one.name for one in found] == [
        f"brie-r{r}-learning-rate{rate}" for r in (8, 16, 32) for rate in ("0.0001", "0.0002")
    ]
    assert [(one.content["lora"]["r"], one.content["train"]["learning_rate"]) for one in found] == [
        (r, rate) for r in (8, 16, 32) for rate in (1e-4, 2e-4)
    ]
    assert all(one.content["name"] == one.name and one.content["lora"]["lora_alpha"] == 32 for one in found)
    assert swept.content["lora"]["r"] == [8, 16, 32]  # what was read stays as it was


def test_seeds_are_swept_too(tmp_path: Path) -> None:
    assert [one.content["seed"] for one in variants(recipe(tmp_path, "seed = [1, 2]\n"))] == [1, 2]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("[lora]\nr = []\n", "sweeps over r, which needs a list of single values"),
        ("[lora]\nr = [[8]]\n", "sweeps over r, which needs a list of single values"),
        (f"seed = {list(range(9))}\n[lora]\nr = {list(range(8))}\n", "stands for 72 runs; at most 64"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(tmp_path: Path, rest: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        variants(recipe(tmp_path, rest))


def test_an_unknown_recipe_is_told_what_there_is(tmp_path: Path) -> None:
    recipe(tmp_path, "")
    with pytest.raises(BadInputError, match=r"no recipe 'other'\. Known: brie;"):
        find_recipe(tmp_path, "other")
