"""How much memory a run will need on this machine, before it starts."""

import functools
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.domain import training_memory as memory
from app.domain.errors import BadInputError
from app.domain.recipes import RecipeRow, variants
from app.domain.terms import BaseModelState
from app.domain.training_memory import Outlook
from app.machine import Machine
from app.models import BaseModel, Run
from app.queries.lookup import base_model_named


def memory_of(base: BaseModel, recipe: dict[str, Any], machine: Machine) -> Outlook | None:
    """What is expected of one recipe on one base model.

    ``None`` where it cannot be told: the base model is not here yet, or is of a shape that is not counted.
    """
    if base.state is not BaseModelState.READY:
        return None
    try:
        config = json.loads((Path(base.folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the training says what is wrong with it
        return None
    shape = memory.read_shape(config) if isinstance(config, dict) else None
    if shape is None:
        return None
    plan = memory.read_plan(recipe)
    estimate = functools.partial(memory.estimate, shape, device=machine.device, bfloat16=machine.bfloat16)
    easier = {change: estimate(one) for change, one in plan.easier.items()}
    return memory.outlook(estimate(plan), plan, easier, device=machine.device, memory_bytes=machine.memory_bytes)


def memory_of_run(session: Session, run_id: uuid.UUID, machine: Machine) -> Outlook | None:
    """What is expected of a run; ``None`` as above, or where there is no such run."""
    run = session.get(Run, run_id)
    return memory_of(session.get_one(BaseModel, run.base_model_id), run.recipe, machine) if run else None


def memory_of_recipes(session: Session, recipes: Sequence[RecipeRow], machine: Machine) -> dict[str, Outlook]:
    """By the name of each recipe, on its own base model; what cannot be told is left out."""
    found: dict[str, Outlook] = {}
    for recipe in recipes:
        base = base_model_named(session, recipe.base_model)
        expected = memory_of_sweep(base, recipe, machine) if base else None
        if expected:
            found[recipe.name] = expected
    return found


def memory_of_sweep(base: BaseModel, recipe: RecipeRow, machine: Machine) -> Outlook | None:
    """Of the first run that will not fit, else of the last: values of a sweep rise."""
    try:
        expected = [memory_of(base, one.content, machine) for one in variants(recipe)]
    except BadInputError:  # launching it says what is wrong
        return None
    known = [one for one in expected if one]
    return next((one for one in known if not one.fits), known[-1] if known else None)
