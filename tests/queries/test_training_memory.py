"""What is expected of a run's memory, from the config that lies with its base model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.machine import Machine
from app.models import BaseModel
from app.queries.training_memory import memory_of, memory_of_recipes, memory_of_run
from app.services.base_models import add_base_model
from tests.domain.test_training_memory import SMOLLM2
from tests.factories import NOW, make_base, make_run, recipe

CPU = Machine("cpu", 24 * 10**9, bfloat16=False)
SMALL = replace(CPU, memory_bytes=10**9)


def small_model(session: Session, folder: Path, config: object = SMOLLM2) -> BaseModel:
    base = make_base(session, folder)
    (Path(base.folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return base


def test_a_run_is_told_what_it_will_take(session: Session, tmp_path: Path) -> None:
    small_model(session, tmp_path)
    run = make_run(session, tmp_path)
    fits, not_here = memory_of_run(session, run.id, CPU), memory_of_run(session, run.id, SMALL)
    assert fits is not None
    assert not_here is not None
    assert fits.fits
    assert fits.sentence.endswith("with rows of max_length = 1,024 tokens; this machine has 24 GB.")
    assert not not_here.fits
    assert "this machine has 1.0 GB: it will not fit." in not_here.sentence


def test_of_a_sweep_the_run_that_does_not_fit_is_told(session: Session, tmp_path: Path) -> None:
    base = small_model(session, tmp_path)
    one = recipe()
    swept = replace(one, name="swept", content={**one.content, "train": {"max_length": [512, 131_072, 1024]}})
    broken = replace(one, name="broken", content={**one.content, "train": {"max_length": []}})
    elsewhere = replace(one, name="elsewhere", base_model="absent")
    found = memory_of_recipes(session, (one, swept, broken, elsewhere), CPU)
    assert found.keys() == {"brie-v1", "swept"}
    assert found["brie-v1"] == memory_of(base, one.content, CPU)
    assert "max_length = 131,072 tokens" in found["swept"].sentence
    assert not found["swept"].fits


@pytest.mark.parametrize("config", [None, [], {"model_type": "gpt2", "n_embd": 768}, {**SMOLLM2, "num_experts": 8}])
def test_what_cannot_be_told_is_left_out(session: Session, tmp_path: Path, config: object) -> None:
    base = small_model(session, tmp_path, config)
    if config is None:
        (Path(base.folder) / "config.json").unlink()
    assert memory_of(base, recipe().content, CPU) is None
    coming = add_base_model(session, "org/other", name="coming", now=NOW)
    assert memory_of(coming, recipe().content, CPU) is None
