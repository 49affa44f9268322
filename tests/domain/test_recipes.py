"""A recipe with lists stands for several recipes, called after what differs."""

from pathlib import Path

import pytest

from app.domain.errors import BadInputError
from app.domain.recipes import RecipeRow, find_recipe, read_mix, read_recipe, variants, with_data

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


def test_a_recipe_may_mix_datasets(tmp_path: Path) -> None:
    file = tmp_path / "mixed.toml"
    start = 'name = "mixed"\nkind = "sft"\nbase_model = "b"\n'
    file.write_text(f'{start}[mix]\nbrie = 2\n"my-notes@3" = 0.5\n', encoding="utf-8")
    found = read_recipe(file)
    assert (found.dataset, found.mix) == ("", {"brie": 2.0, "my-notes@3": 0.5})
    assert variants(found) == (found,)
    for wrong, reason in (
        ('dataset = "d"\n[mix]\na = 1\n', "one dataset, or several"),
        ("[mix]\n", "one dataset, or several"),
        ("mix = 3\n", "one dataset, or several"),
        ("[mix]\na = [1, 2]\n", r"weight of the dataset a is \[1, 2\]"),
        ("[mix]\na = -1\n", "weight of the dataset a is -1"),
    ):
        file.write_text(start + wrong, encoding="utf-8")
        with pytest.raises(BadInputError, match=reason):
            read_recipe(file)


def test_a_mix_is_given_by_names_and_weights() -> None:
    assert read_mix(["brie=2", "notes", "odd@2=0.5"]) == {"brie": 2.0, "notes": 1.0, "odd@2": 0.5}
    assert read_mix([]) == {}
    for wrong, reason in (
        (["brie=much"], "is 'much'"),
        (["brie=0"], r"is 0\.0"),
        (["brie=nan"], "is nan"),
        (["brie", "brie=2"], "named twice"),
    ):
        with pytest.raises(BadInputError, match=reason):
            read_mix(wrong)


def test_other_data_takes_the_place_of_the_recipes_own(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text('name = "one"\nkind = "sft"\nbase_model = "b"\ndataset = "d"\n', encoding="utf-8")
    one = read_recipe(file)
    mixed = with_data(one, {"a": 2.0, "b": 1.0})
    assert (mixed.dataset, mixed.mix, "dataset" in mixed.content) == ("", {"a": 2.0, "b": 1.0}, False)
    again = with_data(mixed, {"d": 1.0})
    assert again == one
    assert with_data(one, {"d": 2.0}).mix == {"d": 2.0}
