"""The base model of an upload: by hash where one is told, else by what fits; names only advise."""

from pathlib import Path

import pytest

from tests.fakes.tiny_model import make_tiny_model
from tests.training.intake.packing import honest, sent, zipped
from training.base import hash_base, load_base, pick_device, pick_dtype
from training.errors import BaseModelError, IntakeError
from training.intake.bases import KnownBase, ToldBase, choose_base, linear_shapes
from training.intake.take import read_upload
from training.intake.weights import LayerUpdate

UNSAID = ToldBase("", "")


def known(name: str, folder: Path) -> KnownBase:
    return KnownBase(name, f"example/{name}-Instruct", folder, hash_base(folder).weights)


@pytest.fixture(scope="session")
def first(tiny_base: Path) -> KnownBase:
    return known("first", tiny_base)


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> KnownBase:
    """Other weights in the same shapes."""
    return known("second", make_tiny_model(tmp_path_factory.mktemp("second") / "tiny", seed=1))


@pytest.fixture(scope="session")
def updates(adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[LayerUpdate]:
    folder = tmp_path_factory.mktemp("upload")
    files = sent(folder / "sent", zipped(honest(adapters["wide"]).files()), "adapter.zip")
    return list(read_upload(files, folder / "scratch").updates)


def test_the_layers_are_those_of_the_loaded_model(tiny_base: Path) -> None:
    device = pick_device("cpu")
    model, _ = load_base(tiny_base, device, pick_dtype(device))
    shapes = linear_shapes(tiny_base)
    assert shapes["model.layers.1.mlp.down_proj"] == tuple(model.model.layers[1].mlp.down_proj.weight.shape)
    assert shapes["model.norm"] is None
    assert shapes.keys() == {name for name, _ in model.named_modules()}


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=str(tmp_path)):
        linear_shapes(tmp_path)


def test_the_hash_decides_whatever_the_name_says(
    updates: list[LayerUpdate], first: KnownBase, second: KnownBase
) -> None:
    told = ToldBase("example/first-Instruct", second.weights_hash)
    assert choose_base(told, updates, [first, second], chosen=False) == (second, "")


def test_a_hash_that_is_not_here_is_refused(updates: list[LayerUpdate], first: KnownBase, second: KnownBase) -> None:
    told = ToldBase("", second.weights_hash)
    with pytest.raises(IntakeError, match="no base model here has it"):
        choose_base(told, updates, [first], chosen=False)
    with pytest.raises(IntakeError, match=f"first has {first.weights_hash[:12]}"):
        choose_base(told, updates, [first], chosen=True)


def test_the_only_one_that_fits_is_taken_and_an_unlike_name_is_said(
    updates: list[LayerUpdate], first: KnownBase
) -> None:
    base, note = choose_base(ToldBase("somebody/Llama-70B", ""), updates, [first], chosen=False)
    assert base == first
    assert "“somebody/Llama-70B”" in note
    assert "matched to first by the shapes" in note
    assert choose_base(UNSAID, updates, [first], chosen=False) == (first, "")


@pytest.mark.parametrize("told", ["second", "example/second-Instruct", "elsewhere/SECOND-instruct"])
def test_of_several_that_fit_the_named_one_is_taken(
    told: str, updates: list[LayerUpdate], first: KnownBase, second: KnownBase
) -> None:
    assert choose_base(ToldBase(told, ""), updates, [first, second], chosen=False) == (second, "")


def test_of_several_that_fit_none_is_guessed(updates: list[LayerUpdate], first: KnownBase, second: KnownBase) -> None:
    with pytest.raises(IntakeError, match=r"fits several base models \(first, second\)"):
        choose_base(ToldBase("somebody/else", ""), updates, [first, second], chosen=False)


def test_without_any_base_model_the_next_step_is_said(updates: list[LayerUpdate]) -> None:
    with pytest.raises(IntakeError, match="add the one it was trained on first"):
        choose_base(UNSAID, updates, [], chosen=False)
