"""A tiny base model, an adapter trained on it, and the recipe that made it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.fakes.tiny_model import make_tiny_model, write_conversations
from training.base import load_base
from training.config import LoraSettings, Recipe, TrainSettings
from training.sft import train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> object:
    return load_base(tiny_base, CPU, torch.float32)[1]


@pytest.fixture(scope="session")
def train_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conversations(tmp_path_factory.mktemp("data") / "train.jsonl", 12)


@pytest.fixture(scope="session")
def validation_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conversations(tmp_path_factory.mktemp("data") / "validation.jsonl", 4, first=50)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Two epochs of three steps of two micro-batches; only a tiny model survives this learning rate."""
    return Recipe(
        name="tiny",
        kind="sft",
        base_model="tiny",
        dataset="cheese",
        lora=LoraSettings(r=4, lora_alpha=8),
        train=TrainSettings(
            num_train_epochs=2,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=1e-2,
        ),
    )


@pytest.fixture(scope="session")
def adapters(
    tiny_base: Path,
    train_file: Path,
    validation_file: Path,
    recipe: Recipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Two adapters of different rank and different layers, and a DoRA. Read only."""
    out = tmp_path_factory.mktemp("adapters")
    narrow = replace(recipe, lora=replace(recipe.lora, r=2, target_modules=("q_proj", "down_proj")))
    dora = replace(recipe, lora=replace(recipe.lora, use_dora=True, target_modules=("q_proj", "v_proj", "down_proj")))
    recipes = {"wide": recipe, "narrow": narrow, "dora": dora}
    for name, one in recipes.items():
        train(one, tiny_base, train_file, validation_file, out / name, run_name=name, device="cpu", dtype="float32")
    return {name: out / name / "epoch-2" for name in recipes}
